import {
  type CompletionItem,
  CompletionItemKind,
  createConnection,
  DiagnosticSeverity,
  ErrorCodes,
  type Location,
  type Diagnostic as LspDiagnostic,
  MarkupKind,
  type Range,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
  TextDocumentSyncKind,
  TextDocuments,
  type TextEdit,
} from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { Diagnostic, Position, ReadInclude, Span } from '../language/index.ts';
import {
  type Completion,
  complete,
  findDefinitions,
  findName,
  formatEdits,
  hover,
  type OpenFile,
  renameThing,
} from '../language/service.ts';
import { pathOf, Readings, uriOf } from './documents.ts';
import { createGate } from './gate.ts';
import { formatKernelRule } from './kernel-rule.ts';

/** Longest wait from a change to its diagnostics, ms: changes that come quicker are answered together. */
const SETTLE = 50;

const COMPLETION_KINDS: Readonly<Record<Completion['kind'], CompletionItemKind>> = {
  word: CompletionItemKind.Keyword,
  sign: CompletionItemKind.Operator,
  link: CompletionItemKind.Interface,
  queue: CompletionItemKind.Class,
  set: CompletionItemKind.Enum,
  let: CompletionItemKind.Constant,
  rule: CompletionItemKind.Event,
};

export interface ServerOptions {
  readonly version: string;
  /** Reads from the disk what a policy includes, where no editor has it open. */
  readonly include: ReadInclude;
}

/**
 * Serves the Language Server Protocol 3.17 on two streams: diagnostics while typing, completion, hover, definition,
 * rename, formatting. The process ends when the client says `exit`, when its end of the input closes (with status 0
 * behind `shutdown`, else 1), or when what comes in is no message, which it says on standard error.
 */
export function serve(input: NodeJS.ReadableStream, output: NodeJS.WritableStream, options: ServerOptions): void {
  const reader = new StreamMessageReader(input);
  const gate = createGate(reader, new StreamMessageWriter(output));
  const connection = createConnection(gate.reader, gate.writer);
  const say = (problem: string) => process.stderr.write(`headgate lsp: ${problem}\n`);
  reader.onError((error) => {
    // The message behind one that is no JSON begins where it should.
    if (error instanceof SyntaxError) say(`skipped what is no JSON: ${error.message}`);
    else {
      say(`this is no message of the Language Server Protocol: ${error.message.split('\n')[0]}`);
      process.exit(1);
    }
  });
  for (const end of ['end', 'close']) input.once(end, () => gate.end((shut) => process.exit(shut ? 0 : 1)));
  const documents = new TextDocuments(TextDocument);
  const readings = new Readings(documents, options.include);
  let waiting = false;

  connection.onInitialize(() => ({
    serverInfo: { name: 'headgate', version: options.version },
    capabilities: {
      textDocumentSync: TextDocumentSyncKind.Incremental,
      completionProvider: { triggerCharacters: ['.', '>', '{', ' '] },
      hoverProvider: true,
      definitionProvider: true,
      renameProvider: { prepareProvider: true },
      documentFormattingProvider: true,
    },
  }));

  /** Documents that something was published for, by the document that it was found in. */
  const published = new Map<string, ReadonlySet<string>>();
  const publish = (owner: string, found: ReadonlyMap<string, LspDiagnostic[]>) => {
    for (const uri of published.get(owner) ?? [])
      if (!found.has(uri)) void connection.sendDiagnostics({ uri, diagnostics: [] });
    for (const [uri, diagnostics] of found) void connection.sendDiagnostics({ uri, diagnostics });
    published.set(owner, new Set(found.keys()));
  };
  const settle = () => {
    waiting = false;
    readings.forget();
    const open = documents.all();
    const included = new Set(
      open.flatMap((document) =>
        readings
          .of(document)
          .files.slice(1)
          .map(({ source }) => source.file),
      ),
    );
    for (const document of open) {
      const found = new Map<string, LspDiagnostic[]>([[document.uri, []]]);
      // What another open document includes is no policy by itself, and is checked with that one.
      if (included.has(pathOf(document.uri))) found.clear();
      else
        for (const d of readings.of(document).parsed.diagnostics) {
          const uri = d.file === pathOf(document.uri) ? document.uri : uriOf(d.file, documents);
          found.set(uri, [...(found.get(uri) ?? []), translate(d)]);
        }
      publish(document.uri, found);
    }
  };
  const changed = () => {
    readings.forget();
    if (!waiting) setTimeout(settle, SETTLE);
    waiting = true;
  };
  documents.onDidChangeContent(changed);
  connection.onDidChangeWatchedFiles(changed);
  documents.onDidClose(({ document }) => {
    publish(document.uri, new Map());
    published.delete(document.uri);
    changed();
  });

  /** A request about a place in an open document; without it the answer is nothing. */
  const at = <T>(
    { textDocument, position }: { textDocument: { uri: string }; position: Parameters<TextDocument['offsetAt']>[0] },
    answer: (document: TextDocument, file: OpenFile, files: readonly OpenFile[], offset: number) => T,
  ): T | null => {
    const document = documents.get(textDocument.uri);
    if (!document) return null;
    const { files } = readings.of(document);
    return answer(document, files[0], files, document.offsetAt(position));
  };

  connection.onCompletion((params) =>
    at(params, (document, file, files, offset) => {
      const { span, items } = complete(files, file, offset);
      const range = rangeOf(span, document);
      return items.map(
        ({ label, kind, about }): CompletionItem => ({
          label,
          kind: COMPLETION_KINDS[kind],
          textEdit: { range, newText: label },
          ...(about === undefined ? {} : { documentation: { kind: MarkupKind.Markdown, value: about } }),
        }),
      );
    }),
  );

  connection.onHover((params) =>
    at(params, (document, file, files, offset) => {
      const { policy } = readings.of(document).parsed;
      const found = hover(files, file, offset, { policy, formatKernelRule });
      if (!found) return null;
      return { contents: { kind: MarkupKind.Markdown, value: found.text }, range: rangeOf(found.span, document) };
    }),
  );

  const locate = ({ file, ...span }: Span & { file: OpenFile }): Location => {
    const uri = uriOf(file.source.file, documents);
    const { start, end } = file.source.range(span);
    return { uri, range: { start: positionOf(start), end: positionOf(end) } };
  };
  connection.onDefinition((params) =>
    at(params, (_, file, files, offset) => {
      const thing = findName(files, file, offset);
      return thing ? findDefinitions(files, thing).map(locate) : null;
    }),
  );

  connection.onPrepareRename((params) =>
    at(params, (document, file, files, offset) => {
      const thing = findName(files, file, offset);
      return thing ? { range: rangeOf(thing.at, document), placeholder: thing.name } : null;
    }),
  );
  connection.onRenameRequest((params) =>
    at(params, (_, file, files, offset) => {
      const thing = findName(files, file, offset);
      if (!thing) throw new ResponseError(ErrorCodes.InvalidParams, 'there is no name here');
      const renaming = renameThing(files, thing, params.newName);
      if ('problem' in renaming) throw new ResponseError(ErrorCodes.InvalidParams, renaming.problem);
      const changes: Record<string, TextEdit[]> = {};
      for (const place of renaming.places) {
        const { uri, range } = locate(place);
        changes[uri] ??= [];
        changes[uri].push({ range, newText: params.newName });
      }
      return { changes };
    }),
  );

  connection.onDocumentFormatting(({ textDocument }) => {
    const document = documents.get(textDocument.uri);
    if (!document) return null;
    const edits = formatEdits(document.getText(), pathOf(document.uri));
    return edits.map(({ text, ...span }) => ({ range: rangeOf(span, document), newText: text }));
  });

  documents.listen(connection);
  connection.listen();
}

const rangeOf = ({ start, end }: Span, document: TextDocument): Range => ({
  start: document.positionAt(start),
  end: document.positionAt(end),
});

/** Lines here end at LF alone; a lone CR, which the protocol counts too, is a mistake in a policy anyway. */
const positionOf = ({ line, column }: Position) => ({ line: line - 1, character: column - 1 });

function translate({ severity, code, message, hint, range }: Diagnostic): LspDiagnostic {
  return {
    range: { start: positionOf(range.start), end: positionOf(range.end) },
    severity: severity === 'error' ? DiagnosticSeverity.Error : DiagnosticSeverity.Warning,
    code,
    source: 'headgate',
    message: hint === undefined ? message : `${message}\n${hint}`,
  };
}
