import ts from 'typescript';

/** @typedef {import('../check-devices.mjs').Problem} Problem */

/** The last word of a name that holds a place in a register map. */
const PLACE_WORDS = new Set(['offset', 'off', 'addr', 'address', 'port', 'reg', 'register']);

/** Functions whose first parameter is an offset, whatever it is called. */
const HANDLERS = new Set(['read', 'write', 'peek', 'read64', 'write64']);

/**
 * Every `switch` on an offset: a device declares its registers instead.
 * @param {{ file: string, text: string }} source
 * @returns {Problem[]}
 */
export function switchProblems({ file, text }) {
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const places = placeNames(tree);
  /** @type {Problem[]} */
  const problems = [];
  /** @param {ts.Node} node */
  const visit = (node) => {
    if (ts.isSwitchStatement(node)) {
      const name = placeIn(node.expression, places) ?? placeInCases(node, places);
      if (name !== undefined) {
        const { line } = tree.getLineAndCharacterOfPosition(node.getStart(tree));
        problems.push({
          file,
          line: line + 1,
          text: `switch on "${name}": declare the registers with layout() and registers() instead`,
        });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return problems;
}

/**
 * `switch (true)` with the offsets in its cases is the same thing.
 * @param {ts.SwitchStatement} node
 * @param {ReadonlySet<string>} places
 */
function placeInCases(node, places) {
  if (node.expression.kind !== ts.SyntaxKind.TrueKeyword) return undefined;
  for (const clause of node.caseBlock.clauses) {
    const name = ts.isCaseClause(clause) ? placeIn(clause.expression, places) : undefined;
    if (name !== undefined) return name;
  }
  return undefined;
}

/**
 * Names in this file that stand for an offset though they are not called so: parameters of handlers,
 * and variables computed from an offset.
 * @param {ts.SourceFile} tree
 */
function placeNames(tree) {
  /** @type {Set<string>} */
  const places = new Set();
  /** @param {ts.Node} node */
  const visit = (node) => {
    const named = ts.isMethodDeclaration(node) || ts.isFunctionDeclaration(node);
    if (named && node.name && HANDLERS.has(node.name.getText(tree)) && isNumeric(node.parameters[0])) {
      const first = node.parameters[0]?.name;
      if (first && ts.isIdentifier(first)) places.add(first.text);
    }
    if (ts.isVariableDeclaration(node) && node.initializer && ts.isIdentifier(node.name)) {
      if (placeIn(node.initializer, places) !== undefined && isArithmetic(node.initializer)) places.add(node.name.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return places;
}

/**
 * A handler's offset is a number; the `read(buffer)` of a stream is another thing.
 * @param {ts.ParameterDeclaration | undefined} parameter
 */
function isNumeric(parameter) {
  return parameter?.type?.kind === ts.SyntaxKind.NumberKeyword;
}

/**
 * Copied, masked or shifted, but not looked up: `table[offset]` is a value, not a place.
 * @param {ts.Expression} node
 * @returns {boolean}
 */
function isArithmetic(node) {
  if (ts.isIdentifier(node) || ts.isNumericLiteral(node) || ts.isPropertyAccessExpression(node)) return true;
  if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node)) return isArithmetic(node.expression);
  return ts.isBinaryExpression(node) && isArithmetic(node.left) && isArithmetic(node.right);
}

/**
 * The first name of a place in an expression.
 * @param {ts.Node} node
 * @param {ReadonlySet<string>} places
 * @returns {string | undefined}
 */
function placeIn(node, places) {
  if (ts.isIdentifier(node) && (places.has(node.text) || isPlaceWord(node.text))) return node.text;
  // Of `request.offset.kind` only the last word counts; of `table[offset]` the value is switched on, not the place.
  if (ts.isPropertyAccessExpression(node)) return isPlaceWord(node.name.text) ? node.getText() : undefined;
  if (ts.isElementAccessExpression(node) || ts.isCallExpression(node)) return undefined;
  return ts.forEachChild(node, (child) => placeIn(child, places));
}

/** @param {string} name such as `regOffset` */
function isPlaceWord(name) {
  const words = name.split(/_|(?<=[a-z0-9])(?=[A-Z])/).filter(Boolean);
  return PLACE_WORDS.has((words.at(-1) ?? '').toLowerCase());
}
