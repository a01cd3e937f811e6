// `npm start`: set up what is missing, then run the example launcher.
import { requireNode } from './lib/node-version.mjs';

requireNode();
import('./lib/start-main.mjs').then((main) => main.start(process.argv.slice(2)));
