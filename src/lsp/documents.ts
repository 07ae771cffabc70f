import { fileURLToPath, pathToFileURL } from 'node:url';
import type { TextDocuments } from 'vscode-languageserver/node';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { type ParsedPolicy, parsePolicy, type ReadInclude } from '../language/index.ts';
import { type OpenFile, openFile } from '../language/service.ts';

/** Path of a document, as messages name it; of one that is on no disk (`untitled:...`), its URI. */
export const pathOf = (uri: string): string => {
  try {
    return uri.startsWith('file:') ? fileURLToPath(uri) : uri;
  } catch {
    return uri;
  }
};

/** The URI of a path, as the client spelt it where it has the document open. */
export const uriOf = (path: string, documents: TextDocuments<TextDocument>): string =>
  documents.keys().find((uri) => pathOf(uri) === path) ?? (path.startsWith('/') ? pathToFileURL(path).href : path);

/** A version of a document, read as a policy with what it includes. */
export interface Reading {
  readonly parsed: ParsedPolicy;
  /** The document, and the files that it includes. */
  readonly files: readonly [OpenFile, ...OpenFile[]];
}

/** Reads documents, each once for a state of all of them: what is open counts, and not what is on the disk. */
export class Readings {
  private readonly documents: TextDocuments<TextDocument>;
  private readonly include: ReadInclude;
  private readonly known = new Map<string, Reading>();

  constructor(documents: TextDocuments<TextDocument>, include: ReadInclude) {
    this.documents = documents;
    this.include = include;
  }

  of(document: TextDocument): Reading {
    const reading = this.known.get(document.uri) ?? this.read(document);
    this.known.set(document.uri, reading);
    return reading;
  }

  /** Something changed: any document may include it. */
  forget(): void {
    this.known.clear();
  }

  private read(document: TextDocument): Reading {
    const [text, file] = [document.getText(), pathOf(document.uri)];
    const include: ReadInclude = (path, from) => {
      const open = this.documents.all().find(({ uri }) => pathOf(uri) === path);
      return open ? { text: open.getText() } : this.include(path, from);
    };
    const parsed = parsePolicy(text, file, { include });
    const others = [...parsed.texts].filter(([path]) => path !== file);
    return { parsed, files: [openFile(text, file), ...others.map(([path, its]) => openFile(its, path))] };
  }
}
