import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** This package's folder, whether it runs from `src` or from `dist`. */
export const OWN_FOLDER: string = fileURLToPath(new URL('..', import.meta.url));

/** This package's own package.json. */
export function ownManifest(): { readonly version: string } {
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
}
