/** The icons that JupyterLab does not have. */
import { LabIcon } from '@jupyterlab/ui-components';

const SVG = (content: string) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">${content}</svg>`;

export const workspaceIcon = new LabIcon({
  name: 'vessl:workspace',
  svgstr: SVG(
    '<path class="jp-icon3" fill="#616161" d="M12 3a10 10 0 0 0-8.66 15h2.4A8 8 0 1 1 20 13a7.9 7.9 0 0 1-1.74 5h2.4A10 10 0 0 0 12 3zm4.3 5.3-5.4 3.6a2 2 0 1 0 1.8 1.8z"/>'
  )
});

export const warningIcon = new LabIcon({
  name: 'vessl:warning',
  svgstr: SVG(
    '<path class="jp-icon3" fill="#616161" d="M12 3 1.5 21h21zm0 4 7 12H5zm-1 4v4h2v-4zm0 5v2h2v-2z"/>'
  )
});

export const emptyIcon = new LabIcon({
  name: 'vessl:no-credits',
  svgstr: SVG(
    '<path class="jp-icon3" fill="#616161" d="M8 2 2 8v8l6 6h8l6-6V8l-6-6zm1 2h6.2L20 8.8v6.4L15.2 20H8.8L4 15.2V8.8zm2 3v7h2V7zm0 8v2h2v-2z"/>'
  )
});

export const openIcon = new LabIcon({
  name: 'vessl:open',
  svgstr: SVG(
    '<path class="jp-icon3" fill="#616161" d="M5 5h6v2H7v10h10v-4h2v6H5zm8-1h7v7h-2V7.4l-6.3 6.3-1.4-1.4L16.6 6H13z"/>'
  )
});
