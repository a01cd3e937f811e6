// Parsed by whatever Node is installed, so: no newer syntax, and no import.

/**
 * What is wrong with this version of Node, in one line; undefined where nothing is.
 * @param {string} version such as `20.19.0`
 */
export function nodeVersionProblem(version) {
  const parts = version.split('.');
  const major = Number(parts[0]);
  const minor = Number(parts[1]);
  // The test runner's own limits: even lines only, and 22 from 22.12 on.
  const ok = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22;
  if (ok) return undefined;
  return `this is Node ${version}; Trapline needs 20.19 or newer (22.12 or newer in line 22)`;
}

/** Ends the process with one clear line where Node is too old. */
export function requireNode() {
  const problem = nodeVersionProblem(process.versions.node);
  if (problem === undefined) return;
  process.stderr.write(`set-up failed at "checking Node": ${problem}; no log; fix: install Node 20.19 or newer\n`);
  process.exit(1);
}
