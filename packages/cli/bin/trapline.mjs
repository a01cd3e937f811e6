#!/usr/bin/env node
// The command `trapline`. From an installed package it runs what was compiled; in a clone of the
// repository it runs the TypeScript sources, with nothing built beforehand.
import { existsSync } from 'node:fs';
import { registerTypeScript } from './register.mjs';

const inClone = existsSync(new URL('../../core/src/index.ts', import.meta.url));
if (inClone) registerTypeScript({ sources: true });

const { main } = await import(inClone ? '../src/main.ts' : '../dist/main.js');
await main(process.argv.slice(2), { registerTypeScript: () => registerTypeScript({ sources: inClone }) });
