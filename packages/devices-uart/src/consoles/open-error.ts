import { messageOf, TraplineError } from '@trapline/core';

type Advice = readonly [what: string, fix: string];

const ADVICE: Readonly<Record<string, Advice>> = {
  EACCES: ['permission denied', 'give this user the right to it, or choose another path'],
  EPERM: ['permission denied', 'give this user the right to it, or choose another path'],
  ENOENT: ['there is no such file or directory', 'make the directory first, or choose another path'],
  ENOTDIR: ['a part of the path is no directory', 'choose another path'],
  EISDIR: ['it is a directory', 'name a file in it'],
  EROFS: ['the file system is read-only', 'choose a path that can be written'],
  ENOSPC: ['the disk is full', 'make room, or choose another path'],
  EADDRINUSE: ['it is in use', 'stop the process that listens there, or choose another path'],
  ECONNREFUSED: ['nobody listens there', 'start the other side first, or let this one listen'],
  ENOTSOCK: ['it is no socket', 'remove the file, or choose another path'],
};

/** The error for a console that cannot be opened: one clear line and a fix. */
export function openError(description: string, thrown: unknown): TraplineError {
  const code = (thrown as { code?: string } | null)?.code ?? '';
  const [what, fix] = ADVICE[code] ?? [messageOf(thrown), undefined];
  return new TraplineError('TL_HOST_RESOURCE', `cannot be opened: ${what}`, {
    who: description,
    ...(fix === undefined ? {} : { fix }),
    cause: thrown,
    details: { code },
  });
}
