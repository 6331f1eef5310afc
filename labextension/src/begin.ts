/**
 * What runs once JupyterLab is there: the model and everything that follows it.
 *
 * A chunk of its own, so that neither the page nor the server works for this extension while JupyterLab starts.
 */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ICommandPalette } from '@jupyterlab/apputils';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { IStatusBar } from '@jupyterlab/statusbar';
import type { TranslationBundle } from '@jupyterlab/translation';

import { Api } from './api';
import type { Context } from './context';
import { openIcon, workspaceIcon } from './icons';
import { WorkspaceModel } from './model';
import { tellNotices } from './notices';
import { StatusItem } from './statusbar';
import { CommandIDs, DEFAULT_SETTINGS, PANEL_ID, PLUGIN_ID, type Settings } from './tokens';

const STATUS_RANK = 900;

/** What JupyterLab gives; a part that an operator has switched off is null. */
export interface Parts {
  app: JupyterFrontEnd;
  trans: TranslationBundle;
  languageCode: string;
  palette: ICommandPalette | null;
  registry: ISettingRegistry | null;
  statusBar: IStatusBar | null;
}

/** Add the commands, the item of the status bar and the notices, and begin to ask. */
export function begin({ app, trans, languageCode, palette, registry, statusBar }: Parts, workspaceId: string): Context {
  let settings: Settings = DEFAULT_SETTINGS;
  const api = new Api(app.serviceManager.serverSettings, {
    unreachable: trans.__('The workspace does not answer. The numbers here are the last ones known.'),
    unclear: trans.__('The answer was not understood. It will be asked again.'),
    gone: trans.__('This workspace does not run any more.')
  });
  const context: Context = {
    app,
    model: new WorkspaceModel(api),
    trans,
    place: { locale: languageCode.replace('_', '-') },
    settings: () => settings
  };
  addCommands(context, palette);

  const item = new StatusItem(context);
  statusBar?.registerStatusItem(PLUGIN_ID, {
    item,
    align: 'right',
    rank: STATUS_RANK,
    isActive: item.isActive,
    activeStateChanged: item.activeStateChanged
  });

  // no notice before it is known whether the person wants them
  const follow = (loaded: ISettingRegistry.ISettings | null) => {
    settings = { ...DEFAULT_SETTINGS, ...(loaded?.composite as Partial<Settings> | undefined) };
    item.settingsChanged();
  };
  const ready = registry ? registry.load(PLUGIN_ID).catch(() => null) : Promise.resolve(null);
  void ready.then(loaded => {
    follow(loaded);
    loaded?.changed.connect(follow);
    tellNotices(context, workspaceId);
  });
  context.model.start();
  return context;
}

function addCommands(context: Context, palette: ICommandPalette | null): void {
  const { app, model, settings, trans } = context;
  const { commands, shell } = app;
  commands.addCommand(CommandIDs.showPanel, {
    label: trans.__('Show Workspace Panel'),
    caption: trans.__('What the workspace costs, its ports and what will pause it'),
    icon: workspaceIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => shell.activateById(PANEL_ID)
  });
  commands.addCommand(CommandIDs.pause, {
    label: trans.__('Pause Workspace…'),
    caption: trans.__('Stop everything that runs; files in kept storage stay'),
    describedBy: { args: { type: 'object', properties: {} } },
    isEnabled: () => model.state === 'running',
    execute: async () => (await import('./pausing')).pauseWorkspace(context)
  });
  commands.addCommand(CommandIDs.openPort, {
    label: args => (args.port ? trans.__('Open Port %1', String(args.port)) : trans.__('Open Port…')),
    caption: trans.__('Open a program that listens in the workspace'),
    icon: openIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          port: { type: 'number', description: trans.__('Number of the port; asks when left out') },
          in: { type: 'string', enum: ['tab', 'lab'], description: trans.__('Where to open it') }
        }
      }
    },
    execute: async args => {
      const { choosePort, openPort } = await import('./opening');
      const named = model.status?.ports.find(port => port.port === args.port && port.url);
      const port = named ?? (await choosePort(context));
      if (port) {
        openPort(port, port.url, args.in === 'tab' || args.in === 'lab' ? args.in : settings().openPortsIn, context);
      }
    }
  });
  model.changed.connect(() => commands.notifyCommandChanged(CommandIDs.pause));
  for (const command of Object.values(CommandIDs)) {
    palette?.addItem({ command, category: trans.__('Workspace') });
  }
}
