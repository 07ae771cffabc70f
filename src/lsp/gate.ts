import { ErrorCodes, Message, type MessageReader, type MessageWriter, ResponseError } from 'vscode-languageserver/node';

/** Requests that are answered, with what their parameters must have. */
const NEEDS: Readonly<Record<string, readonly ('document' | 'position' | 'newName')[]>> = {
  initialize: [],
  'textDocument/completion': ['document', 'position'],
  'textDocument/hover': ['document', 'position'],
  'textDocument/definition': ['document', 'position'],
  'textDocument/prepareRename': ['document', 'position'],
  'textDocument/rename': ['document', 'position', 'newName'],
  'textDocument/formatting': ['document'],
};

export interface Gate {
  readonly reader: MessageReader;
  readonly writer: MessageWriter;
  /** Nothing more comes in: when all is answered, calls back, saying whether the client had said `shutdown`. */
  end(done: (shut: boolean) => void): void;
}

/**
 * Stands between the streams and the connection. Lets messages in which the protocol allows at the time, with the
 * parameters that they need, and answers others with its errors: -32002 before `initialize`, -32600 behind `shutdown` or
 * for a second `initialize`, -32602 where parameters lack. Notifications out of time are dropped.
 */
export function createGate(reader: MessageReader, writer: MessageWriter): Gate {
  let phase: 'new' | 'open' | 'shut' = 'new';
  const open = new Set<string | number | null>();
  let count = 0;
  let ended: (() => void) | undefined;

  const write = async (message: Message): Promise<void> => {
    await writer.write(message);
    if (Message.isResponse(message)) open.delete(message.id);
    if (open.size === 0) ended?.();
  };
  const errorOf = (method: string, params: unknown): ResponseError<void> | undefined => {
    if (phase === 'new' && method !== 'initialize')
      return new ResponseError(ErrorCodes.ServerNotInitialized, `initialize comes before ${method}`);
    if (phase === 'shut' || (phase === 'open' && method === 'initialize'))
      return new ResponseError(ErrorCodes.InvalidRequest, `${method} cannot be asked any more`);
    const lacking = lackOf(method, params);
    return lacking === undefined
      ? undefined
      : new ResponseError(ErrorCodes.InvalidParams, `${method} needs ${lacking}`);
  };
  const passes = (message: Message): boolean => {
    count++;
    if (Message.isNotification(message)) return phase === 'open' || message.method === 'exit';
    if (!Message.isRequest(message)) return true;
    open.add(message.id);
    const error = errorOf(message.method, message.params);
    if (error) {
      void write({ jsonrpc: message.jsonrpc, id: message.id, error: error.toJson() } as Message);
      return false;
    }
    if (message.method === 'initialize') phase = 'open';
    if (message.method === 'shutdown') phase = 'shut';
    return true;
  };

  return {
    reader: {
      onError: reader.onError,
      onClose: reader.onClose,
      onPartialMessage: reader.onPartialMessage,
      listen: (callback) => reader.listen((message) => void (passes(message) && callback(message))),
      dispose: () => reader.dispose(),
    },
    writer: {
      onError: writer.onError,
      onClose: writer.onClose,
      write,
      end: () => writer.end(),
      dispose: () => writer.dispose(),
    },
    end: (done) => {
      // The reader hands on one message a turn of the event loop: two turns without one, and there are no more.
      const wait = (before: number, idle: number): void =>
        void setImmediate(() => {
          if (count > before || idle < 2) wait(count, count > before ? 0 : idle + 1);
          else {
            ended = () => done(phase === 'shut');
            if (open.size === 0) ended();
          }
        });
      wait(count, 0);
    },
  };
}

/** The parameter that is missing or of another kind than the protocol has it; undefined where none is. */
function lackOf(method: string, params: unknown): string | undefined {
  const needs = Object.hasOwn(NEEDS, method) ? NEEDS[method] : undefined;
  if (!needs) return undefined;
  if (!isObject(params)) return 'params';
  const { textDocument, position, newName } = params;
  if (needs.includes('document') && !(isObject(textDocument) && typeof textDocument.uri === 'string'))
    return 'textDocument.uri';
  if (needs.includes('position') && !isPosition(position)) return 'position';
  return needs.includes('newName') && typeof newName !== 'string' ? 'newName' : undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isPosition = (value: unknown): boolean => isObject(value) && isCount(value.line) && isCount(value.character);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;
