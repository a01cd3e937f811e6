// The guest's console in a process of ours: what `--input` says, and an input nobody types into.
import { PassThrough } from 'node:stream';
import { configureStdio } from '@trapline/devices-uart';

/** How long a standard input that is no terminal may stay silent before it counts as ended, in ms. */
const SILENCE_MS = 2000;

/** What the command tells every `stdio()` console of the machine. */
export interface ConsoleSettings {
  /** Typed for the guest, then end of input; `-` is standard input, however long it takes. */
  readonly input: string | undefined;
  /** The user typed the escape that leaves. */
  readonly onLeave: () => void;
  /** Standard input was given up. */
  readonly onSilence: (ms: number) => void;
}

/** Passes what the command line says to the consoles that will be opened. Opens nothing itself. */
export function configureConsoles({ input, onLeave, onSilence }: ConsoleSettings): void {
  if (input !== undefined && input !== '-') configureStdio({ input, onLeave });
  else if (input === '-' || process.stdin.isTTY) configureStdio({ onLeave });
  else {
    configureStdio({
      onLeave,
      get stdin() {
        return endingInput(process.stdin, () => onSilence(SILENCE_MS));
      },
    });
  }
}

/**
 * An input that ends by itself if nothing ever comes: a machine started by another program, with an
 * open pipe behind it that nobody writes to, must not wait for ever.
 */
function endingInput(source: NodeJS.ReadStream, silent: () => void): PassThrough {
  const input = new PassThrough();
  const timer = setTimeout(() => {
    source.unpipe(input);
    source.pause();
    silent();
    input.end();
  }, SILENCE_MS);
  const heard = () => clearTimeout(timer);
  source.once('data', heard);
  source.once('end', heard);
  source.once('error', () => {
    heard();
    input.end();
  });
  source.pipe(input);
  return input;
}
