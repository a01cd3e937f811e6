import { extractDocs } from './lib/extract-docs.mjs';

extractDocs();
