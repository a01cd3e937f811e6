// What `npm install` would leave in a project of a stranger's: our packages compiled, theirs linked.
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'oxc-transform';

/** The root of the repository. */
export const ROOT: string = fileURLToPath(new URL('../../../', import.meta.url));

const LINKED = ['node_modules', 'packages/core/node_modules', 'packages/cli/node_modules'];

/** Installs packages of ours by folder name, and others by their own, into a project. */
export function install(project: string, ours: readonly string[], others: readonly string[]): void {
  const modules = join(project, 'node_modules');
  for (const name of ours) stage(join(ROOT, 'packages', name), join(modules, '@trapline', name));
  for (const name of others) {
    const from = LINKED.map((folder) => join(ROOT, folder)).find((folder) => has(folder, name));
    if (!from) throw new Error(`${name} is not in this workspace`);
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(from, name), join(modules, name));
  }
}

function has(folder: string, name: string): boolean {
  try {
    readFileSync(join(folder, name, 'package.json'));
    return true;
  } catch {
    return false;
  }
}

function stage(from: string, to: string): void {
  cpSync(from, to, {
    recursive: true,
    filter: (path) => !/[\\/](node_modules|dist|build|test)$|\.test\.ts$/.test(path),
  });
  const src = join(to, 'src');
  for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const { code } = transformSync(file, readFileSync(join(src, file), 'utf8'), {
      lang: 'ts',
      sourceType: 'module',
      target: 'node20',
      decorator: { legacy: true, emitDecoratorMetadata: true },
    });
    const built = join(to, 'dist', file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(built), { recursive: true });
    writeFileSync(built, code);
  }
}
