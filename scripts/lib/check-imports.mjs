import { posix } from 'node:path';
import ts from 'typescript';

/** @typedef {import('../check-devices.mjs').Problem} Problem */

/**
 * Who may import which package of this repository. Arrows point one way, towards core;
 * a device of ours has no privilege that a third party's device lacks.
 * @param {string} folder such as `packages/devices-uart`
 * @param {string} name such as `@trapline/core`
 */
function mayImport(folder, name) {
  if (folder.startsWith('examples/')) return true;
  // The command composes everything else.
  if (folder === 'packages/cli') return true;
  if (folder === 'packages/core') return false;
  return name === '@trapline/core';
}

/**
 * @param {{ file: string, text: string }} source path from the root
 * @param {string} folder of the package
 * @param {readonly string[]} publicEntries of core
 * @returns {Problem[]}
 */
export function importProblems({ file, text }, folder, publicEntries) {
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  /** @type {Problem[]} */
  const problems = [];
  for (const literal of specifiersOf(tree)) {
    const problem = judge(literal.text, file, folder, publicEntries);
    if (problem === undefined) continue;
    const { line } = tree.getLineAndCharacterOfPosition(literal.getStart(tree));
    problems.push({ file, line: line + 1, text: `imports "${literal.text}": ${problem}` });
  }
  return problems;
}

/**
 * @param {string} specifier
 * @param {string} file
 * @param {string} folder
 * @param {readonly string[]} publicEntries
 */
function judge(specifier, file, folder, publicEntries) {
  if (specifier.startsWith('.')) {
    const target = posix.join(posix.dirname(file), specifier);
    return target.startsWith(`${folder}/`) ? undefined : 'a package reaches others by their names, not by paths';
  }
  if (specifier === 'trapline' || specifier.startsWith('trapline/')) {
    return folder === 'packages/cli' || folder.startsWith('examples/') ? undefined : 'nothing depends on the command';
  }
  if (!specifier.startsWith('@trapline/')) return undefined;
  const name = specifier.split('/', 2).join('/');
  if (!mayImport(folder, name)) {
    return folder === 'packages/core' ? 'core depends on no other package' : 'only core may be imported here';
  }
  if (name === '@trapline/core' && !publicEntries.includes(specifier)) {
    return `not a public entry of core (${publicEntries.join(', ')})`;
  }
  return undefined;
}

/**
 * The specifier of every import, static, dynamic or in a type.
 * @param {ts.SourceFile} tree
 */
function specifiersOf(tree) {
  /** @type {ts.StringLiteralLike[]} */
  const found = [];
  /** @param {ts.Node | undefined} node */
  const take = (node) => {
    if (node && ts.isStringLiteralLike(node)) found.push(node);
  };
  /** @param {ts.Node} node */
  const visit = (node) => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) take(node.moduleSpecifier);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) take(node.argument.literal);
    else if (ts.isCallExpression(node) && isImporting(node.expression)) take(node.arguments[0]);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

/** @param {ts.Expression} callee */
function isImporting(callee) {
  if (callee.kind === ts.SyntaxKind.ImportKeyword) return true;
  return ts.isIdentifier(callee) && callee.text === 'require';
}
