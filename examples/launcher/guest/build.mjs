// Assembles hello.S into hello.bin. Needed only after a change of hello.S: the binary is kept in the repository.
//   node build.mjs [--output FILE]
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const option = process.argv.indexOf('--output');
const output = option > 0 ? resolve(process.argv[option + 1] ?? '') : join(here, 'hello.bin');
const compiler = process.env.CC ?? 'cc';

function run(command, ...args) {
  const result = spawnSync(command, args, { cwd: here, encoding: 'utf8' });
  if (result.status === 0) return;
  console.error(`guest: ${command} failed: ${(result.error?.message ?? result.stderr).trim()}`);
  process.exit(1);
}

const scratch = mkdtempSync(join(tmpdir(), 'trapline-guest-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
const object = join(scratch, 'hello.o');
run(compiler, '-m32', '-c', 'hello.S', '-o', object);
// One flat image for its load address; all writable data is inside it.
run('ld', '-m', 'elf_i386', '--oformat', 'binary', '-N', '-Ttext', '0x1000', '-e', 'start', '-o', output, object);
// The linker takes everything it writes for a program.
chmodSync(output, 0o644);
