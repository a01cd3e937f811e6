// Module hooks that import TypeScript. They run on Node's loader thread (Node 20) or on the main
// thread (later ones), so what `nextResolve` gives may or may not be a promise.
//
// The compiler's settings are fixed: constructor injection needs legacy decorators with metadata, and
// a user's tsconfig may say otherwise, or not exist.
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transformSync } from 'oxc-transform';

/** What a machine file may import without having installed it: the command brings its own, core brings the latter two. */
const OWN = /^(@trapline\/|trapline(\/|$))/;
const CORES = /^(zod|reflect-metadata)(\/|$)/;
/** Helpers that compiled code imports. */
const HELPERS = '@oxc-project/runtime/';
const TYPESCRIPT = /\.[mc]?tsx?$/;
/** What a specifier that names compiled output means in a source tree. */
const SOURCE_OF = [
  [/\.js$/, ['.ts', '.tsx']],
  [/\.jsx$/, ['.tsx']],
  [/\.mjs$/, ['.mts']],
];

let settings = { sources: false, maps: false };

/** @param {typeof settings} data */
export function initialize(data) {
  settings = data;
}

/** @type {import('node:module').ResolveHook} */
export function resolve(specifier, context, nextResolve) {
  if (specifier.startsWith(HELPERS)) return nextResolve(specifier, { ...context, parentURL: import.meta.url });
  const source = sourceFile(specifier, context.parentURL);
  if (source) return { url: pathToFileURL(source).href, format: 'module', shortCircuit: true };
  const own = OWN.test(specifier);
  if (!own && !CORES.test(specifier)) return nextResolve(specifier, context);
  const conditions = own && settings.sources ? [...context.conditions, 'trapline-src'] : context.conditions;
  return recover(
    () => nextResolve(specifier, { ...context, conditions }),
    (error) => {
      if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error;
      return nextResolve(specifier, { ...context, conditions, parentURL: own ? import.meta.url : coreUrl() });
    },
  );
}

/** @type {import('node:module').LoadHook} */
export function load(url, context, nextLoad) {
  const path = url.startsWith('file:') ? fileURLToPath(url) : '';
  if (!TYPESCRIPT.test(path)) return nextLoad(url, context);
  return { format: 'module', source: compile(path), shortCircuit: true };
}

function coreUrl() {
  return pathToFileURL(createRequire(import.meta.url).resolve('@trapline/core/package.json')).href;
}

/**
 * The TypeScript file that a relative specifier means, if it means one.
 * @param {string} specifier
 * @param {string | undefined} parent
 */
function sourceFile(specifier, parent) {
  if (!/^(\.{1,2}\/|\/|file:)/.test(specifier) || !parent?.startsWith('file:')) return undefined;
  const url = new URL(specifier, parent);
  if (url.search || url.hash) return undefined;
  const path = fileURLToPath(url);
  const candidates = TYPESCRIPT.test(path) ? [path] : SOURCE_OF.flatMap(([js, ts]) => renamed(path, js, ts));
  if (TYPESCRIPT.test(parent) && !isFile(path)) candidates.push(`${path}.ts`, `${path}/index.ts`);
  const found = candidates.find(isFile);
  return found === undefined ? undefined : realpathSync(found);
}

/**
 * @param {string} path
 * @param {RegExp} from
 * @param {readonly string[]} to
 */
function renamed(path, from, to) {
  return from.test(path) ? to.map((extension) => path.replace(from, extension)) : [];
}

/** @param {string} path */
function isFile(path) {
  return existsSync(path) && statSync(path).isFile();
}

/** @param {string} path */
function compile(path) {
  const text = readFileSync(path, 'utf8');
  const { code, map, errors } = transformSync(path, text, {
    lang: path.endsWith('x') ? 'tsx' : 'ts',
    sourceType: 'module',
    target: 'node20',
    sourcemap: settings.maps,
    decorator: { legacy: true, emitDecoratorMetadata: true },
  });
  const [error] = errors;
  if (error) throw new SyntaxError(`${place(path, text, error.labels[0]?.start)}: ${error.message}`);
  if (!map) return code;
  // The file itself has the source: no second copy of it in the map.
  const { sourcesContent: _, ...plain } = { ...map, sources: [pathToFileURL(path).href] };
  return `${code}\n//# sourceMappingURL=data:application/json;base64,${Buffer.from(JSON.stringify(plain)).toString('base64')}`;
}

/**
 * @param {string} path
 * @param {string} text
 * @param {number | undefined} offset
 */
function place(path, text, offset) {
  if (offset === undefined) return path;
  const lines = text.slice(0, offset).split('\n');
  return `${path}:${lines.length}:${(lines.at(-1)?.length ?? 0) + 1}`;
}

/**
 * @template T
 * @param {() => T} run
 * @param {(error: NodeJS.ErrnoException) => T} otherwise
 */
function recover(run, otherwise) {
  try {
    const result = run();
    return result instanceof Promise ? result.catch(otherwise) : result;
  } catch (error) {
    return otherwise(error);
  }
}
