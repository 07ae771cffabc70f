import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  CompletionRequest,
  createProtocolConnection,
  DefinitionRequest,
  DidChangeTextDocumentNotification,
  DidCloseTextDocumentNotification,
  DidOpenTextDocumentNotification,
  DocumentFormattingRequest,
  ExitNotification,
  HoverRequest,
  InitializedNotification,
  InitializeRequest,
  type InitializeResult,
  type Diagnostic as LspDiagnostic,
  type Position,
  PrepareRenameRequest,
  type ProtocolConnection,
  PublishDiagnosticsNotification,
  RenameRequest,
  ShutdownRequest,
  StreamMessageReader,
  StreamMessageWriter,
  type TextEdit,
} from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { packageFile } from '../../src/lab/index.ts';
import { formatPolicy, parsePolicy } from '../../src/language/index.ts';

const CLI = packageFile('dist/cli/headgate.js');
const POLICY = `# 😀 more than one UTF-16 unit
link wan { }
queue fast { share 60% }
queue slow { share 10% }
rule web   when tcp and remote.port 443 -> slow
default local -> fast  remote -> slow  new -> fast
`;

/** An editor with a server of its own: a real process, spoken to by its standard input and output. */
class Editor {
  readonly process: ChildProcessWithoutNullStreams;
  readonly connection: ProtocolConnection;
  readonly documents = new Map<string, TextDocument>();
  readonly diagnostics = new Map<string, readonly LspDiagnostic[]>();
  stderr = '';
  private waiting: (() => void)[] = [];

  constructor() {
    this.process = spawn(process.execPath, [CLI, 'lsp', '--stdio']);
    this.process.stderr.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
    });
    this.connection = createProtocolConnection(
      new StreamMessageReader(this.process.stdout),
      new StreamMessageWriter(this.process.stdin),
    );
    this.connection.onNotification(PublishDiagnosticsNotification.type, ({ uri, diagnostics }) => {
      this.diagnostics.set(uri, diagnostics);
      for (const wake of this.waiting.splice(0)) wake();
    });
    // What is still asked then is answered with an error, and not waited for.
    this.process.once('exit', () => this.connection.dispose());
    this.connection.listen();
  }

  async start(): Promise<InitializeResult> {
    const result = await this.connection.sendRequest(InitializeRequest.type, {
      processId: process.pid,
      rootUri: null,
      capabilities: {},
    });
    await this.connection.sendNotification(InitializedNotification.type, {});
    return result;
  }

  async open(uri: string, text: string): Promise<void> {
    this.documents.set(uri, TextDocument.create(uri, 'gate', 1, text));
    await this.connection.sendNotification(DidOpenTextDocumentNotification.type, {
      textDocument: { uri, languageId: 'gate', version: 1, text },
    });
  }

  /** Replaces what stands between two offsets. */
  async edit(uri: string, start: number, end: number, text: string): Promise<void> {
    const document = this.documents.get(uri)!;
    const change = { range: { start: document.positionAt(start), end: document.positionAt(end) }, text };
    const version = document.version + 1;
    TextDocument.update(document, [change], version);
    await this.connection.sendNotification(DidChangeTextDocumentNotification.type, {
      textDocument: { uri, version },
      contentChanges: [change],
    });
  }

  /** Waits until what was said of a document is this. */
  async until(
    uri: string,
    expected: (diagnostics: readonly LspDiagnostic[]) => boolean,
  ): Promise<readonly LspDiagnostic[]> {
    for (const deadline = Date.now() + 20_000; Date.now() < deadline; ) {
      const found = this.diagnostics.get(uri);
      if (found && expected(found)) return found;
      await Promise.race([
        new Promise<void>((wake) => this.waiting.push(wake)),
        new Promise((wake) => setTimeout(wake, 1000)),
      ]);
    }
    throw new Error(`${uri}: ${JSON.stringify(this.diagnostics.get(uri))} ${this.stderr}`);
  }

  /** Ends it as an editor does; gives its exit status. */
  async stop(): Promise<number | null> {
    if (this.process.exitCode !== null) return this.process.exitCode;
    const end = once(this.process, 'exit');
    await this.connection.sendRequest(ShutdownRequest.type);
    await this.connection.sendNotification(ExitNotification.type);
    const [status] = await end;
    return status as number | null;
  }
}

let folder: string;
let editor: Editor;
let uri: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'headgate-test-'));
  uri = pathToFileURL(join(folder, 'my rules.gate')).href;
  editor = new Editor();
});
afterEach(async () => {
  if (editor.process.exitCode === null) editor.process.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

/** The position of `|` in the text with it. */
const at = (text: string, mark: string): Position => {
  const offset = text.indexOf(mark.replace('|', '')) + mark.indexOf('|');
  return TextDocument.create('', '', 0, text).positionAt(offset);
};
const codes = (diagnostics: readonly LspDiagnostic[]) => diagnostics.map((d) => d.code);
const applied = (text: string, edits: readonly TextEdit[] | null) =>
  TextDocument.applyEdits(TextDocument.create('', '', 0, text), [...(edits ?? [])]);

describe('headgate lsp', () => {
  test('starts, says what it can, and ends with 0', async () => {
    const { capabilities, serverInfo } = await editor.start();
    expect(serverInfo?.name).toBe('headgate');
    expect(capabilities).toMatchObject({
      hoverProvider: true,
      definitionProvider: true,
      documentFormattingProvider: true,
      renameProvider: { prepareProvider: true },
    });
    expect(await editor.stop()).toBe(0);
    expect(editor.stderr).toBe('');
  });

  test('ends with 1 when the editor goes away', async () => {
    await editor.start();
    const end = once(editor.process, 'exit');
    editor.process.stdin.end();
    expect((await end)[0]).toBe(1);
  });

  test('says what is wrong while it is typed, and that it is right again', async () => {
    await editor.start();
    await editor.open(uri, POLICY);
    await editor.until(uri, (found) => found.length === 0);
    const place = POLICY.indexOf('new -> fast') + 7;
    await editor.edit(uri, place, place + 4, 'fats');
    const [found] = await editor.until(uri, (all) => codes(all).includes('unknown-queue'));
    expect(found).toMatchObject({
      severity: 1,
      source: 'headgate',
      message: 'there is no queue "fats"\ndid you mean "fast"?',
      range: { start: at(POLICY, 'new -> |fast'), end: at(POLICY, 'new -> fast|') },
    });
    await editor.edit(uri, place, place + 4, 'slow');
    await editor.until(uri, (all) => all.length === 0);
    await editor.connection.sendNotification(DidCloseTextDocumentNotification.type, { textDocument: { uri } });
    expect(await editor.stop()).toBe(0);
  });

  test('counts columns in UTF-16 code units', async () => {
    await editor.start();
    await editor.open(uri, `${POLICY}link x { device "😀" upload 5mbps }`);
    const all = await editor.until(uri, (found) => codes(found).includes('bytes-per-second'));
    const found = all.find((d) => d.code === 'bytes-per-second')!;
    expect(found.range.start.character).toBe('link x { device "😀" upload '.length);
  });

  test('completes, hovers, leads to definitions', async () => {
    await editor.start();
    await editor.open(uri, POLICY);
    const textDocument = { uri };
    const items = (await editor.connection.sendRequest(CompletionRequest.type, {
      textDocument,
      position: at(POLICY, 'new -> fa|st'),
    })) as { label: string; textEdit: TextEdit }[];
    expect(items.map(({ label }) => label)).toEqual(['fast', 'slow']);
    expect(items[0]!.textEdit.range).toEqual({ start: at(POLICY, 'new -> |fast'), end: at(POLICY, 'new -> fa|st') });

    const hover = await editor.connection.sendRequest(HoverRequest.type, {
      textDocument,
      position: at(POLICY, 'rule w|eb'),
    });
    expect(hover?.contents).toMatchObject({
      kind: 'markdown',
      value: expect.stringContaining('**kernel rule** `web`'),
    });
    // tcp, port 443, and the class of its queue in our bits of the mark: as nft has it.
    expect(JSON.stringify(hover?.contents)).toMatch(/443.*ct mark set/);
    expect(hover?.range).toEqual({ start: at(POLICY, 'rule |web'), end: at(POLICY, 'rule web|') });

    const definition = await editor.connection.sendRequest(DefinitionRequest.type, {
      textDocument,
      position: at(POLICY, 'remote -> sl|ow'),
    });
    expect(definition).toEqual([{ uri, range: { start: at(POLICY, 'queue |slow'), end: at(POLICY, 'queue slow|') } }]);
    expect(
      await editor.connection.sendRequest(DefinitionRequest.type, { textDocument, position: at(POLICY, '# |') }),
    ).toBeNull();
  });

  test('renames in all places, or says why not', async () => {
    await editor.start();
    await editor.open(uri, POLICY);
    const params = { textDocument: { uri }, position: at(POLICY, 'remote -> sl|ow') };
    expect(await editor.connection.sendRequest(PrepareRenameRequest.type, params)).toMatchObject({
      placeholder: 'slow',
    });
    const edit = await editor.connection.sendRequest(RenameRequest.type, { ...params, newName: 'last-of-all' });
    expect(applied(POLICY, edit!.changes![uri]!)).toBe(POLICY.replaceAll('slow', 'last-of-all'));
    await expect(editor.connection.sendRequest(RenameRequest.type, { ...params, newName: 'fast' })).rejects.toThrow(
      'there is a queue "fast" already',
    );
    await expect(
      editor.connection.sendRequest(RenameRequest.type, { ...params, position: at(POLICY, '# |'), newName: 'x' }),
    ).rejects.toThrow('no name');
  });

  test('formats as fmt does, touching only lines that change; a broken text not at all', async () => {
    await editor.start();
    await editor.open(uri, POLICY);
    const params = { textDocument: { uri }, options: { tabSize: 8, insertSpaces: false } };
    const edits = await editor.connection.sendRequest(DocumentFormattingRequest.type, params);
    expect(applied(POLICY, edits)).toBe(formatPolicy(POLICY, '').text);
    expect(edits!.map(({ range }) => range.start.line)).toEqual([4]);
    await editor.edit(uri, 0, 0, 'rule ');
    expect(await editor.connection.sendRequest(DocumentFormattingRequest.type, params)).toEqual([]);
  });

  test('a policy of several files: findings, definitions and renaming where they belong; what is open counts', async () => {
    const part = pathToFileURL(join(folder, 'part.gate')).href;
    writeFileSync(join(folder, 'part.gate'), 'set lan = { 10.0.0.0/8 }\nset nets = { 443 }\n');
    const text = `${POLICY}include "part.gate"\nrule home when remote in lan -> slow\n`;
    await editor.start();
    await editor.open(uri, text);
    expect(codes(await editor.until(part, (all) => all.length === 1))).toEqual(['unused-set']);
    const position = at(text, 'remote in la|n');
    const [definition] = (await editor.connection.sendRequest(DefinitionRequest.type, {
      textDocument: { uri },
      position,
    })) as { uri: string; range: { start: Position } }[];
    expect(definition).toMatchObject({ uri: part, range: { start: { line: 0, character: 4 } } });
    const edit = await editor.connection.sendRequest(RenameRequest.type, {
      textDocument: { uri },
      position,
      newName: 'home-net',
    });
    expect(Object.fromEntries(Object.entries(edit!.changes!).map(([name, edits]) => [name, edits.length]))).toEqual({
      [uri]: 1,
      [part]: 1,
    });
    // Opened and changed, but not saved.
    await editor.open(part, 'set lan = { 10.0.0.0/8 }\n');
    await editor.until(part, (all) => all.length === 0);
    await editor.edit(part, 0, 8, 'set lam ');
    expect(codes(await editor.until(uri, (all) => all.length > 0))).toContain('unknown-set');
    await editor.edit(part, 0, 8, 'set lan ');
    await editor.until(uri, (all) => all.length === 0);
  });

  test('what it does not know is answered, what is not open gives nothing', async () => {
    await editor.start();
    await expect(editor.connection.sendRequest('textDocument/frobnicate', {})).rejects.toThrow(/Unhandled method/);
    expect(
      await editor.connection.sendRequest(HoverRequest.type, {
        textDocument: { uri },
        position: { line: 3, character: 3 },
      }),
    ).toBeNull();
    await editor.open('untitled:Untitled-1', 'queue a { share 5% } include "x"');
    await editor.until('untitled:Untitled-1', (all) => all.length > 0);
    await editor.open(uri, POLICY);
    expect(
      await editor.connection.sendRequest(HoverRequest.type, {
        textDocument: { uri },
        position: { line: 1e6, character: 1e6 },
      }),
    ).toBeNull();
    expect(await editor.stop()).toBe(0);
  });

  test('random edits: it lives, and at the end says what check says', async () => {
    await editor.start();
    const insertion = fc.oneof(
      fc.constantFrom(
        'rule ',
        '{',
        '}',
        '"',
        '\n',
        '\r\n',
        '->',
        ' in ',
        '😀',
        '\u0000',
        'include "my rules.gate"',
        'count(',
      ),
      fc.string({ maxLength: 5 }),
    );
    const step = fc.record({ at: fc.nat(), length: fc.nat(8), text: insertion });
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
        const name = pathToFileURL(join(folder, `fuzz${round++}.gate`)).href;
        await editor.open(name, POLICY);
        const document = editor.documents.get(name)!;
        for (const { at: place, length, text } of steps) {
          const start = place % (document.getText().length + 1);
          await editor.edit(name, start, Math.min(start + length, document.getText().length), text);
          const params = { textDocument: { uri: name }, position: document.positionAt(start) };
          await Promise.all([
            editor.connection.sendRequest(CompletionRequest.type, params),
            editor.connection.sendRequest(HoverRequest.type, params),
            editor.connection.sendRequest(DefinitionRequest.type, params),
            editor.connection.sendRequest(PrepareRenameRequest.type, params),
          ]);
        }
        const text = document.getText();
        const formatted = formatPolicy(text, '').text ?? text;
        const edits = await editor.connection.sendRequest(DocumentFormattingRequest.type, {
          textDocument: { uri: name },
          options: { tabSize: 2, insertSpaces: true },
        });
        expect(applied(text, edits)).toBe(formatted);
        const path = join(folder, `fuzz${round - 1}.gate`);
        const wanted = parsePolicy(text, path, { include: () => ({ problem: 'no such file' }) }).diagnostics.map(
          (d) => d.code,
        );
        await editor.until(name, (all) => JSON.stringify(codes(all)) === JSON.stringify(wanted));
        await editor.connection.sendNotification(DidCloseTextDocumentNotification.type, {
          textDocument: { uri: name },
        });
      }),
      { numRuns: 25 },
    );
    expect(editor.stderr).toBe('');
    expect(await editor.stop()).toBe(0);
  });
});

test('the packages of the protocol are loaded by lsp alone', () => {
  const hook = `export const resolve = async (name, context, next) => {
    if (name.startsWith('vscode-')) throw new Error('loaded ' + name);
    return next(name, context);
  };`;
  const run = (...args: string[]) => {
    const script = `import { register } from 'node:module';
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}));
      process.argv = ['node', ...${JSON.stringify(args)}];
      await import(${JSON.stringify(CLI)});`;
    return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  };
  expect(run('check', packageFile('rules/one-queue.gate'))).toMatchObject({ status: 0, stderr: '' });
  expect(run('lsp').stderr).toContain('loaded vscode-languageserver');
});
