/** Is this a promise where none belongs? Its rejection is heard here: nobody else would, and it would end the process. */
export function isStrayPromise(value: unknown): value is Promise<unknown> {
  if (!(value instanceof Promise)) return false;
  value.catch(() => {});
  return true;
}
