import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { EnrolmentService } from '@zerolatency/proto/enrolment';
import type { DeviceFiles, Enrolments } from '../registrar/enrolments.ts';
import { callerIn } from './server.ts';

export function enrolmentService(enrolments: Enrolments): ServiceImpl<typeof EnrolmentService> {
  return {
    enrol: async (request, context) => {
      const enrolled = await enrolments.enrol(request, callerIn(context).address);
      const { credential, expiresAtMs, tenant, deviceId, relayUrls, relayCaPem } = enrolled;
      return {
        ...{ credential, tenant, deviceId, relayUrls: [...relayUrls], relayCaPem },
        expiresAt: timestampFromMs(expiresAtMs),
        policy: signedFile(enrolled.policy),
        manifest: signedFile(enrolled.manifest),
      };
    },
  };
}

function signedFile({ envelope, publicKeysPem }: DeviceFiles['policy']) {
  return { envelope, publicKeysPem: [...publicKeysPem] };
}
