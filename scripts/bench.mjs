// `npm run bench [-- --json] [NAME...]`: set up what is missing, then run the benchmarks from their sources.
import { requireNode } from './lib/node-version.mjs';

requireNode();
import('./lib/bench-main.mjs').then((main) => main.bench());
