// Code in the documentation is code: every fenced block that names a file is written out, so that
// the type checker and the tests treat it like the rest of the tree.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Documents with named blocks, and the folder below tests/docs/extracted their blocks go to. */
const DOCUMENTS = { 'README.md': 'readme' };
const BLOCK = /^```(?:ts|json) title="([\w.-]+)"\n([\s\S]*?)^```$/gm;

/**
 * The named blocks of a document.
 * @param {string} markdown
 * @returns {{ file: string, text: string }[]}
 */
export function namedBlocks(markdown) {
  return [...markdown.matchAll(BLOCK)].map(([, file, text]) => ({ file, text }));
}

/** Writes every named block to tests/docs/extracted. */
export function extractDocs() {
  const out = join(ROOT, 'tests/docs/extracted');
  rmSync(out, { recursive: true, force: true });
  for (const [document, folder] of Object.entries(DOCUMENTS)) {
    mkdirSync(join(out, folder), { recursive: true });
    for (const { file, text } of namedBlocks(readFileSync(join(ROOT, document), 'utf8'))) {
      writeFileSync(join(out, folder, file), text);
    }
  }
}
