/**
 * What the server extension answers, and the reading of it.
 *
 * An answer of a newer or older server must never break the page, so nothing here throws: what is missing becomes
 * empty, what has another type is left out, and text is bounded. Money is integer micro-credits, instants are UTC
 * milliseconds by the service's clock.
 */

export type Tone = 'fine' | 'low' | 'below';
export type Level = 'info' | 'warning' | 'error';
export type PortType = 'http' | 'tcp';
export type PathKind = 'stripped' | 'absolute';

export interface Pause {
  kind: string;
  atMs: number;
  sentence: string;
  mayKeep: boolean;
}

export interface Notice {
  id: number;
  /** 0 when it is not known. */
  atMs: number;
  level: Level;
  message: string;
}

export interface Mount {
  kind: string;
  mountPath: string;
}

/** The service's view of the workspace. */
export interface Service {
  title: string;
  state: string;
  sinceMs: number;
  message: string;
  clusterTitle: string;
  imageTitle: string;
  teamTitle: string;
  currency: string;
  rateMicrosPerHour: number;
  lastsUntilMs: number | null;
  mounts: Mount[];
  spec: {
    title: string;
    gpuType: string;
    gpuCount: number;
    cpuMillis: number;
    memoryBytes: number;
    temporaryBytes: number;
  };
  credits: {
    title: string;
    currency: string;
    contact: string;
    balanceMicros: number;
    tone: Tone;
    warning: string;
  };
  sessionMicros: number;
  pauses: Pause[];
  /** `atMs` is 0 when it is not known. */
  lastEnd: { atMs: number; sentence: string; hint: string } | null;
  notices: Notice[];
  pagesUrl: string;
  atMs: number;
}

export interface Gpu {
  name: string;
  percent: number | null;
  memoryBytes: number;
  memoryBytesLimit: number;
}

/** What is in use now; null where it could not be measured. */
export interface Usage {
  cpuPercent: number | null;
  cpuMillisLimit: number | null;
  memoryBytes: number | null;
  memoryBytesLimit: number | null;
  gpus: Gpu[];
}

export interface Volume {
  mountPath: string;
  kind: string;
  name: string;
  readOnly: boolean;
  sizeBytes: number;
  usedBytes: number | null;
}

/** A port that is declared, found listening, or both; `name` is empty for one that was only found. */
export interface Port {
  name: string;
  port: number;
  type: PortType;
  path: PathKind;
  declared: boolean;
  listening: boolean;
  process: string;
  url: string | null;
  otherUrl: string | null;
  address: string;
  note: string;
}

export interface Status {
  atMs: number;
  problem: string;
  service: Service | null;
  usage: Usage | null;
  volumes: Volume[];
  ports: Port[];
}

const TEXT_CHARACTERS_MAX = 1000;
const LIST_MAX = 1000;
/** What JavaScript's dates hold; beyond, they throw when they are written. */
const INSTANT_MS_MAX = 8.64e15;

type Json = Record<string, unknown>;

function record(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, TEXT_CHARACTERS_MAX) : '';
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** Whether there is such a point in time. */
export function isInstant(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= INSTANT_MS_MAX;
}

function instant(value: unknown): number {
  return isInstant(value) ? value : 0;
}

function list<T>(value: unknown, read: (item: Json) => T): T[] {
  return Array.isArray(value) ? value.slice(0, LIST_MAX).map(item => read(record(item))) : [];
}

function oneOf<T extends string>(value: unknown, choices: readonly T[], otherwise: T): T {
  return choices.find(choice => choice === value) ?? otherwise;
}

function readPort(item: Json): Port {
  return {
    name: text(item.name),
    port: number(item.port),
    type: oneOf(item.type, ['http', 'tcp'], 'http'),
    path: oneOf(item.path, ['stripped', 'absolute'], 'stripped'),
    declared: item.declared === true,
    listening: item.listening === true,
    process: text(item.process),
    url: text(item.url) || null,
    otherUrl: text(item.other_url) || null,
    address: text(item.address),
    note: text(item.note)
  };
}

function readUsage(item: Json): Usage {
  return {
    cpuPercent: numberOrNull(item.cpu_percent),
    cpuMillisLimit: numberOrNull(item.cpu_millis_limit),
    memoryBytes: numberOrNull(item.memory_bytes),
    memoryBytesLimit: numberOrNull(item.memory_bytes_limit),
    gpus: list(item.gpus, gpu => ({
      name: text(gpu.name),
      percent: numberOrNull(gpu.percent),
      memoryBytes: number(gpu.memory_bytes),
      memoryBytesLimit: number(gpu.memory_bytes_limit)
    }))
  };
}

function readService(item: Json, statusAtMs: number): Service {
  const workspace = record(item.workspace);
  const spec = record(item.spec);
  const credits = record(item.credits);
  const end = record(item.last_end);
  return {
    title: text(workspace.title),
    state: text(workspace.state),
    sinceMs: instant(workspace.since_ms),
    message: text(workspace.message),
    clusterTitle: text(workspace.cluster_title),
    imageTitle: text(workspace.image_title),
    teamTitle: text(item.team_title) || text(workspace.team),
    currency: text(workspace.currency) || text(credits.currency),
    rateMicrosPerHour: number(workspace.rate_micros_per_hour),
    lastsUntilMs: isInstant(workspace.lasts_until_ms) ? workspace.lasts_until_ms : null,
    mounts: list(workspace.mounts, mount => ({ kind: text(mount.kind), mountPath: text(mount.mount_path) })),
    spec: {
      title: text(spec.title) || text(spec.name),
      gpuType: text(spec.gpu_type),
      gpuCount: number(spec.gpu_count),
      cpuMillis: number(spec.cpu_millis),
      memoryBytes: number(spec.memory_bytes),
      temporaryBytes: number(spec.temporary_bytes)
    },
    credits: {
      title: text(credits.title),
      currency: text(credits.currency),
      contact: text(credits.contact),
      balanceMicros: number(credits.balance_micros),
      tone: oneOf<Tone>(credits.tone, ['fine', 'low', 'below'], 'fine'),
      warning: text(credits.warning)
    },
    sessionMicros: number(item.session_micros),
    pauses: readPauses(item.pauses),
    lastEnd: item.last_end ? { atMs: instant(end.at_ms), sentence: text(end.sentence), hint: text(end.hint) } : null,
    notices: list(item.notices, notice => ({
      id: number(notice.id),
      atMs: instant(notice.at_ms),
      level: oneOf<Level>(notice.level, ['info', 'warning', 'error'], 'info'),
      message: text(notice.message)
    })),
    pagesUrl: text(item.pages_url),
    atMs: isInstant(item.at_ms) ? item.at_ms : statusAtMs
  };
}

/** The earliest first, without those whose instant is none: nobody can wait for them. */
function readPauses(value: unknown): Pause[] {
  const known = Array.isArray(value) ? value.filter(pause => isInstant(record(pause).at_ms)) : [];
  return list(known, pause => ({
    kind: text(pause.kind),
    atMs: instant(pause.at_ms),
    sentence: text(pause.sentence),
    mayKeep: pause.may_keep === true
  })).sort((a, b) => a.atMs - b.atMs);
}

/** Whether `status` says what held before `other`: first by the service's numbers, then by what the server added. */
export function isOlder(status: Status, other: Status): boolean {
  const [at, otherAt] = [status.service?.atMs ?? -Infinity, other.service?.atMs ?? -Infinity];
  return at === otherAt ? status.atMs < other.atMs : at < otherAt;
}

/** Read an answer of `vessl/api/status`; null when it is not one. */
export function readStatus(answer: unknown): Status | null {
  const item = record(answer);
  if (!isInstant(item.at_ms)) {
    return null;
  }
  return {
    atMs: item.at_ms,
    problem: text(item.problem),
    service: item.service ? readService(record(item.service), item.at_ms) : null,
    usage: item.usage ? readUsage(record(item.usage)) : null,
    volumes: list(item.volumes, volume => ({
      mountPath: text(volume.mount_path),
      kind: text(volume.kind),
      name: text(volume.name),
      readOnly: volume.read_only === true,
      sizeBytes: number(volume.size_bytes),
      usedBytes: numberOrNull(volume.used_bytes)
    })),
    ports: list(item.ports, readPort)
  };
}
