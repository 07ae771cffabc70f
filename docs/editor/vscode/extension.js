// Starts `headgate lsp` for .gate files. Highlighting comes from syntaxes/ and works without this.
const vscode = require('vscode');

let client;

exports.activate = async () => {
  let languageClient;
  try {
    languageClient = require('vscode-languageclient/node');
  } catch {
    vscode.window.showWarningMessage(
      'Headgate: highlighting only. Run "npm install" in the folder of this extension for diagnostics and completion.',
    );
    return;
  }
  const [command, ...args] = vscode.workspace.getConfiguration('headgate').get('command');
  client = new languageClient.LanguageClient(
    'headgate',
    'Headgate',
    { command, args, transport: languageClient.TransportKind.stdio },
    {
      documentSelector: [{ language: 'gate' }],
      // What a policy includes may change outside of the editor.
      synchronize: { fileEvents: vscode.workspace.createFileSystemWatcher('**/*.gate') },
    },
  );
  await client.start();
};

exports.deactivate = () => client?.stop();
