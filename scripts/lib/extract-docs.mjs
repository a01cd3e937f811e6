// Code in the documentation is code: every fenced block that names a file is written out, so that
// the type checker and the tests treat it like the rest of the tree.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Documents with named blocks, and the folder below tests/docs/extracted their blocks go to. */
const DOCUMENTS = { 'README.md': 'readme', 'docs/devices.md': 'devices' };
const BLOCK = /^```(?:ts|json) title="([\w.-]+)"\n([\s\S]*?)^```$/gm;

/**
 * The named blocks of a document.
 * @param {string} markdown
 * @returns {{ file: string, text: string }[]}
 */
export function namedBlocks(markdown) {
  return [...markdown.matchAll(BLOCK)].map(([, file = '', text = '']) => ({ file, text }));
}

/**
 * Writes every named block to tests/docs/extracted. What is there already is left alone: another run
 * of the tests may be reading it.
 */
export function extractDocs() {
  const out = join(ROOT, 'tests/docs/extracted');
  for (const [document, folder] of Object.entries(DOCUMENTS)) {
    const target = join(out, folder);
    const blocks = namedBlocks(readFileSync(join(ROOT, document), 'utf8'));
    mkdirSync(target, { recursive: true });
    for (const name of readdirSync(target)) {
      if (!blocks.some(({ file }) => file === name)) rmSync(join(target, name), { recursive: true });
    }
    for (const { file, text } of blocks) {
      const path = join(target, file);
      if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text);
    }
  }
}
