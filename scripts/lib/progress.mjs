/**
 * Progress on stderr: one live line on a terminal, else one line per step.
 *
 * The live line is rewritten in place and erased at the end, so a terminal's last word is the program's own.
 */

const FRAMES = ['|', '/', '-', '\\'];
const ERASE_LINE = '\r\u001b[2K';

/** @typedef {{ isTTY?: boolean, columns?: number, write(text: string): unknown }} Output */

/**
 * Which way of showing progress fits this output.
 * @param {Output} output
 * @param {NodeJS.ProcessEnv} env
 */
export function progressStyle(output, env) {
  const terminal = output.isTTY === true && env.TERM !== 'dumb';
  return {
    // A CI log is read afterwards: a line that rewrites itself is noise there.
    live: terminal && !isSet(env.CI),
    color: terminal && !isSet(env.CI) && !isSet(env.NO_COLOR),
  };
}

/**
 * `NO_COLOR` counts when not empty; `CI=false` and `CI=0` are ways of saying no.
 * @param {string | undefined} value
 */
function isSet(value) {
  return value !== undefined && value !== '' && value !== 'false' && value !== '0';
}

export class Progress {
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #text = '';
  #detail = '';
  #since = 0;
  #frame = 0;

  /**
   * @param {Output} output
   * @param {NodeJS.ProcessEnv} env
   */
  constructor(output, env) {
    this.output = output;
    this.style = progressStyle(output, env);
  }

  /**
   * A step begins.
   * @param {string} text such as `installing packages`
   */
  step(text) {
    this.#stop();
    this.#text = text;
    this.#detail = '';
    this.#since = Date.now();
    if (!this.style.live) {
      this.output.write(`set-up: ${text}\n`);
      return;
    }
    this.#draw();
    // The timer must not keep a finished program alive.
    this.#timer = setInterval(() => this.#draw(), 100);
    this.#timer.unref();
  }

  /**
   * What the step is doing just now: for the live line only.
   * @param {string} text
   */
  detail(text) {
    this.#detail = text;
  }

  /**
   * A line to keep, beside the progress.
   * @param {string} text
   */
  note(text) {
    if (this.#timer) this.output.write(ERASE_LINE);
    this.output.write(`${text}\n`);
    if (this.#timer) this.#draw();
  }

  /**
   * The end, good or bad, with a last line if there is one to say.
   * @param {string} [text]
   */
  end(text) {
    this.#stop();
    if (text) this.output.write(`${text}\n`);
  }

  #stop() {
    if (!this.#timer) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.output.write(ERASE_LINE);
  }

  #draw() {
    const seconds = ((Date.now() - this.#since) / 1000).toFixed(1);
    const frame = FRAMES[this.#frame++ % FRAMES.length];
    const detail = this.#detail ? ` (${this.#detail})` : '';
    const text = `${frame} set-up: ${this.#text} ${seconds} s${detail}`;
    // A line longer than the terminal would wrap, and a wrapped line cannot be erased.
    const line = text.slice(0, (this.output.columns || 80) - 1);
    this.output.write(ERASE_LINE + (this.style.color ? `\u001b[36m${line}\u001b[39m` : line));
  }
}
