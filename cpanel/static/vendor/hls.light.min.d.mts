// The part of hls.js that the pages use, for the type checker.
export default class Hls {
  static isSupported(): boolean;
  static Events: { ERROR: "hlsError"; MANIFEST_PARSED: "hlsManifestParsed"; LEVEL_LOADED: "hlsLevelLoaded"; FRAG_CHANGED: "hlsFragChanged" };
  static ErrorTypes: { NETWORK_ERROR: string; MEDIA_ERROR: string };
  constructor(config: Record<string, unknown>);
  on(event: string, f: (event: string, data: any) => void): void;
  loadSource(url: string): void;
  attachMedia(video: HTMLMediaElement): void;
  recoverMediaError(): void;
  stopLoad(): void;
  destroy(): void;
  readonly playingDate: Date | null;
  readonly liveSyncPosition: number | null;
  readonly latestLevelDetails: { fragments: { start: number; duration: number; end: number; programDateTime: number | null; gap?: boolean }[]; live: boolean } | null;
}
