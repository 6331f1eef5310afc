/**
 * The plugin: its place in the side bar at once, everything else when JupyterLab is there.
 *
 * Nothing is awaited while it activates.  What is here is loaded in every start, so it is little.
 */
import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import type { Context } from './context';
import { Sidebar } from './sidebar';
import { PANEL_ID, PLUGIN_ID, TRANSLATION_DOMAIN, WORKSPACE_OPTION } from './tokens';

const PANEL_RANK = 150;

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
  const parts = { app, trans, languageCode: language.languageCode || 'en', palette, registry, statusBar };
  let begun: Promise<Context> | null = null;
  const context = () => {
    begun ??= app.restored
      .then(() => import('./begin'))
      .then(({ begin }) => begin(parts, workspaceId))
      .catch(error => {
        begun = null; // whoever opens the panel tries again
        throw error;
      });
    return begun;
  };
  const sidebar = new Sidebar(trans, context);
  app.shell.add(sidebar, 'left', { rank: PANEL_RANK, type: 'Workspace' });
  restorer?.add(sidebar, PANEL_ID);
  context().catch(error => console.warn('The workspace cannot be shown:', error));
}

const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: 'Credits, time left, storage and ports of a jupyterhub-vessl workspace.',
  autoStart: true,
  optional: [ITranslator, ICommandPalette, ISettingRegistry, IStatusBar, ILayoutRestorer],
  activate
};

export default plugin;
