// `npm test`: set up what is missing, then run the tests.
import { requireNode } from './lib/node-version.mjs';

requireNode();
import('./lib/test-main.mjs').then((main) => main.test(process.argv.slice(2)));
