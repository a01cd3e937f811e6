/** The candidate nearest to what was typed, if it is near enough to have been meant. */
export function nearest(typed: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.min(typed.length - 1, Math.max(1, Math.floor(typed.length / 3))) + 1;
  for (const candidate of candidates) {
    const d = candidate.startsWith(typed) && typed.length > 1 ? 1 : distance(typed, candidate);
    if (d < least) [best, least] = [candidate, d];
  }
  return best;
}

/** Single-character edits from `a` to `b`; two neighbours that changed places are one. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (before[j - 2] as number) + 1);
      }
      next.push(least);
    }
    [before, row] = [row, next];
  }
  return row[b.length] as number;
}
