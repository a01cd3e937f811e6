import { writeFileSync } from 'node:fs';

/**
 * A vitest reporter that writes what became of every test to a file, for `npm test` and `npm run mutate` to judge.
 *
 * @typedef {{ passed: string[], failed: string[], skipped: string[], errors: string[] }} Outcome
 */
export default class OutcomeReporter {
  /**
   * @param {readonly import('vitest/node').TestModule[]} modules
   * @param {readonly { message: string }[]} unhandled
   */
  onTestRunEnd(modules, unhandled) {
    /** @type {Outcome} */
    const outcome = { passed: [], failed: [], skipped: [], errors: [] };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        // `pending` is a test that never ran, because something above it failed.
        const list = state === 'passed' ? outcome.passed : state === 'skipped' ? outcome.skipped : outcome.failed;
        list.push(`${module.relativeModuleId} > ${test.fullName}`);
      }
      // A file that fails to load, or a hook that fails, has no failing test to its name.
      for (const error of module.errors()) outcome.errors.push(`${module.relativeModuleId}: ${error.message}`);
      for (const suite of module.children.allSuites()) {
        for (const error of suite.errors()) outcome.errors.push(`${module.relativeModuleId}: ${error.message}`);
      }
    }
    for (const error of unhandled) outcome.errors.push(error.message);
    const path = process.env.TRAPLINE_TEST_OUTCOME;
    if (path) writeFileSync(path, JSON.stringify(outcome));
  }
}
