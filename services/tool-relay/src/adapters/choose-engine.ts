import type { OpenSocketEngine } from '../ports.ts';
import { openUwsEngine } from './uws/engine.ts';
import { loadNative } from './uws/native.ts';
import { openWsEngine } from './ws/engine.ts';

/** uWebSockets.js carries several times the messages per core, where its binary loads. */
export async function chooseEngine(wanted: 'auto' | 'uws' | 'ws'): Promise<OpenSocketEngine> {
  if (wanted === 'auto') return (await loadNative()) === undefined ? openWsEngine : openUwsEngine;
  return wanted === 'uws' ? openUwsEngine : openWsEngine;
}
