// The real command in a terminal of its own.
import { spawnSync } from 'node:child_process';
import { BIN, execute } from './cli.js';

/** Is there util-linux's `script`, which plays the terminal? */
export const hasTerminals: boolean =
  spawnSync('script', ['-qec', 'stty -a', '/dev/null'], { encoding: 'utf8' }).stdout?.includes('icanon') ?? false;

/** The modes of a terminal that a shell expects. */
export const NORMAL = 'echo icanon isig opost';

/** Runs `console-machine.ts` in a terminal, and looks at the terminal afterwards. */
export async function inTerminal(
  env: string,
  args: string,
  ...keys: string[]
): Promise<{ code: number; text: string; modes: string }> {
  const shell = `${env} '${process.execPath}' '${BIN}' run console-machine.ts ${args}; echo "rc=$?"; stty -a; sleep 0.2`;
  const { stdout } = await execute(['script', '-qec', shell, '/dev/null'], {
    keepOpen: true,
    when: ['ready', (child) => keys.forEach((key, i) => void setTimeout(() => child.stdin?.write(key), 150 * (i + 1)))],
  });
  const text = stdout.replaceAll('\r', '');
  const [before, after] = text.split(/^rc=(?=\d)/m) as [string, string];
  const modes = (after.match(/-?\b(icanon|echo|isig|opost)\b/g) ?? []).sort().join(' ');
  return { code: Number.parseInt(after, 10), text: before, modes };
}
