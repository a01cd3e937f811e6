/** Runs asynchronous work one at a time, in order; the first begins at once. */
export class OneAtATime {
  private last: Promise<void> | undefined;

  get busy(): boolean {
    return this.last !== undefined;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const before = this.last;
    let done = (): void => {};
    const mine = new Promise<void>((resolve) => {
      done = resolve;
    });
    this.last = mine;
    try {
      if (before) await before;
      return await work();
    } finally {
      if (this.last === mine) this.last = undefined;
      done();
    }
  }

  /** Does something that takes no time: at once, or after all that is under way or waits. */
  async brief<T>(work: () => T): Promise<T> {
    return this.busy ? this.run(async () => work()) : work();
  }
}
