{{/* For `volumes` of a node's pod. */}}
{{- define "vmafx.sidecarVolumes" -}}
{{- if (include "vmafx.trainer" . | fromYaml).enabled -}}
- name: vmafx-socket
  emptyDir: {}
- name: vmafx-models
  persistentVolumeClaim:
    claimName: {{ include "vmafx.claimName" . }}
- name: vmafx-shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ include "vmafx.sharedMemoryMi" . }}Mi
{{- end -}}
{{- end -}}

{{/* For `volumeMounts` of the node's own container, which only reads the models. */}}
{{- define "vmafx.nodeVolumeMounts" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- if $trainer.enabled -}}
- name: vmafx-socket
  mountPath: {{ dir $trainer.settings.socket }}
- name: vmafx-models
  mountPath: {{ $trainer.modelsMountPath }}
  readOnly: true
{{- end -}}
{{- end -}}

{{/* For `env` of the node's own container: where the socket and the checkpoints are. */}}
{{- define "vmafx.nodeEnv" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- if $trainer.enabled -}}
- name: VMAFX_SIDECAR_SOCKET
  value: {{ $trainer.settings.socket | quote }}
- name: VMAFX_SIDECAR_CHECKPOINT_DIR
  value: {{ $trainer.settings.checkpointDir | quote }}
{{- end -}}
{{- end -}}

{{/* For `securityContext` of a node's pod: with the group, the sidecar may write to the volumes and a node to the socket. */}}
{{- define "vmafx.podSecurityContext" -}}
{{- if (include "vmafx.trainer" . | fromYaml).enabled -}}
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
{{- end -}}
{{- end -}}
