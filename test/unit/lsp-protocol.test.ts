import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';

const CLI = packageFile('dist/cli/headgate.js');

const frame = (message: unknown): string => {
  const text = typeof message === 'string' ? message : JSON.stringify(message);
  return `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
};
const ask = (id: number, method: string, params?: unknown) => frame({ jsonrpc: '2.0', id, method, params });
const INITIALIZE = ask(1, 'initialize', { processId: null, rootUri: null, capabilities: {} });
const SHUTDOWN = ask(99, 'shutdown');
const HOVER = { textDocument: { uri: 'file:///a.gate' }, position: { line: 0, character: 0 } };

/** What a server answers to these bytes, by the request, and how it ends when no more come. */
function serve(input: string) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, 'lsp'], { input, encoding: 'utf8' });
  const answers = stdout.split(/Content-Length: \d+\r\n\r\n/).filter(Boolean);
  const read = answers.map((text) => JSON.parse(text) as { id?: number; error?: { code: number; message: string } });
  const errors = Object.fromEntries(read.flatMap(({ id, error }) => (id && error ? [[id, error.code]] : [])));
  return { ids: read.flatMap(({ id }) => id ?? []).sort((a, b) => a - b), errors, stderr, status };
}

test.each(['hello\r\n\r\n', 'Content-Length: many\r\n\r\n{}', `X: 1\r\n\r\n${INITIALIZE}`])(
  'bytes that are no message end it with a word: %j',
  (input) => {
    const { ids, stderr, status } = serve(input);
    expect([ids, status]).toEqual([[], 1]);
    expect(stderr).toMatch(/^headgate lsp: this is no message of the Language Server Protocol: .+\n$/);
  },
);

test('what is no JSON is skipped', () => {
  const { ids, stderr, status } = serve(frame('{"a":') + INITIALIZE + SHUTDOWN);
  expect([ids, status]).toEqual([[1, 99], 0]);
  expect(stderr).toContain('skipped what is no JSON');
});

test('requests out of time are refused', () => {
  const { errors, status } = serve(
    ask(2, 'textDocument/hover', HOVER) +
      ask(3, 'shutdown') +
      INITIALIZE +
      ask(4, 'initialize', { processId: null, rootUri: null, capabilities: {} }) +
      SHUTDOWN +
      ask(5, 'textDocument/hover', HOVER),
  );
  expect([errors, status]).toEqual([{ 2: -32002, 3: -32002, 4: -32600, 5: -32600 }, 0]);
});

test('requests without what they need are refused, and others answered', () => {
  const { ids, errors } = serve(
    ask(2, 'initialize') +
      INITIALIZE +
      ask(3, 'textDocument/hover') +
      ask(4, 'textDocument/hover', {}) +
      ask(5, 'textDocument/hover', [1, 2]) +
      ask(6, 'textDocument/completion', { textDocument: HOVER.textDocument }) +
      ask(7, 'textDocument/definition', { ...HOVER, position: { line: -1, character: 0 } }) +
      ask(8, 'textDocument/formatting', {}) +
      ask(9, 'textDocument/rename', HOVER) +
      ask(10, 'textDocument/hover', HOVER) +
      ask(11, 'no/such') +
      SHUTDOWN,
  );
  const lacking = Object.fromEntries([2, 3, 4, 5, 6, 7, 8, 9].map((id) => [id, -32602]));
  expect(errors).toEqual({ ...lacking, 11: -32601 });
  expect(ids).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 99]);
});
