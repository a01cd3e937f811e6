// Makes a clone ready to run; `npm start` and `npm test` call the same code first.
// As npm's `postinstall` it turns what `npm install` made into the workspace that pnpm makes.
import { requireNode } from './lib/node-version.mjs';

requireNode();
// pnpm runs `postinstall` too, also when it is this set-up that started it.
const agent = process.env.npm_config_user_agent || '';
const insidePnpm = process.env.npm_lifecycle_event === 'postinstall' && agent.indexOf('npm/') !== 0;
if (!insidePnpm) import('./lib/setup-main.mjs').then((main) => main.setUpOrExit());
