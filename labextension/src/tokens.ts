/** Names that the parts share; importing this has no effect. */

export const PLUGIN_ID = 'jupyterhub-vessl-lab:plugin';
export const TRANSLATION_DOMAIN = 'jupyterhub-vessl-lab';
export const PANEL_ID = 'vessl-workspace';

/** The page-config option with the workspace's id; the plugin does nothing without it. */
export const WORKSPACE_OPTION = 'vesslWorkspace';

export namespace CommandIDs {
  export const showPanel = 'vessl:show-panel';
  export const pause = 'vessl:pause';
  export const openPort = 'vessl:open-port';
}

export type OpenIn = 'tab' | 'lab';

/** The settings of schema/plugin.json. */
export interface Settings {
  showInStatusBar: boolean;
  notices: boolean;
  openPortsIn: OpenIn;
}

export const DEFAULT_SETTINGS: Settings = { showInStatusBar: true, notices: true, openPortsIn: 'tab' };
