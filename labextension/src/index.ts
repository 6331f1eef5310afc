/**
 * The plugin: wires the parts together.
 *
 * Nothing is awaited while it activates, and what only some people look at is loaded when they do.
 */
import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api } from './api';
import type { Context } from './context';
import { openIcon, workspaceIcon } from './icons';
import { WorkspaceModel } from './model';
import { tellNotices } from './notices';
import { Sidebar } from './sidebar';
import { StatusItem } from './statusbar';
import {
  CommandIDs,
  DEFAULT_SETTINGS,
  PANEL_ID,
  PLUGIN_ID,
  TRANSLATION_DOMAIN,
  WORKSPACE_OPTION,
  type Settings
} from './tokens';

const PANEL_RANK = 150;
const STATUS_RANK = 900;

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

function activate(
  app: JupyterFrontEnd,
  translator: ITranslator | null,
  palette: ICommandPalette | null,
  registry: ISettingRegistry | null,
  statusBar: IStatusBar | null,
  restorer: ILayoutRestorer | null
): void {
  const workspaceId = PageConfig.getOption(WORKSPACE_OPTION);
  if (!workspaceId) {
    return;
  }
  const language = translator ?? nullTranslator;
  const trans = language.load(TRANSLATION_DOMAIN);
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
    place: { locale: (language.languageCode || 'en').replace('_', '-') },
    settings: () => settings
  };
  addCommands(context, palette);

  const sidebar = new Sidebar(context);
  app.shell.add(sidebar, 'left', { rank: PANEL_RANK, type: 'Workspace' });
  restorer?.add(sidebar, PANEL_ID);

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
}

const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: 'Credits, time left, storage and ports of a jupyterhub-vessl workspace.',
  autoStart: true,
  optional: [ITranslator, ICommandPalette, ISettingRegistry, IStatusBar, ILayoutRestorer],
  activate
};

export default plugin;
