// Assembles a guest, hello.S if none is named, into a .bin beside it. Needed only after a change of the source: the
// binaries are kept in the repository.
//   node build.mjs [--source FILE.S] [--output FILE]
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({ options: { source: { type: 'string' }, output: { type: 'string' } } });
const source = resolve(values.source ?? join(here, 'hello.S'));
const output = resolve(values.output ?? source.replace(/\.S$/, '.bin'));
const compiler = process.env.CC ?? 'cc';

function run(command, ...args) {
  const result = spawnSync(command, args, { cwd: here, encoding: 'utf8' });
  if (result.status === 0) return;
  console.error(`guest: ${command} failed: ${(result.error?.message ?? result.stderr).trim()}`);
  process.exit(1);
}

const scratch = mkdtempSync(join(tmpdir(), 'trapline-guest-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
const object = join(scratch, 'guest.o');
run(compiler, '-m32', '-c', source, '-o', object);
// One flat image for its load address; all writable data is inside it.
run('ld', '-m', 'elf_i386', '--oformat', 'binary', '-N', '-Ttext', '0x1000', '-e', 'start', '-o', output, object);
// The linker takes everything it writes for a program.
chmodSync(output, 0o644);
