{{/* For `volumes` of a node's pod. */}}
{{- define "vmafx.sidecarVolumes" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- if $trainer.enabled -}}
- name: vmafx-socket
  emptyDir: {}
{{- if eq $trainer.models.claim "shared" }}
- name: vmafx-models
  persistentVolumeClaim:
    claimName: {{ include "vmafx.claimName" . }}
{{- else if eq $trainer.models.claim "ephemeral" }}
- name: vmafx-models
  ephemeral:
    volumeClaimTemplate:
      spec:
        {{- include "vmafx.claimSpec" . | nindent 8 }}
{{- end }}
- name: vmafx-shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ include "vmafx.sharedMemoryMi" . }}Mi
{{- with include "vmafx.baseModelConfigMap" . }}
- name: vmafx-base-model
  configMap:
    name: {{ . }}
{{- end }}
{{- with $trainer.registry.dockerConfigSecret }}
- name: vmafx-registry
  secret:
    secretName: {{ . }}
    items:
      - {key: .dockerconfigjson, path: config.json}
{{- end }}
{{- with (include "vmafx.fleet" . | fromYaml).keySecret }}
- name: vmafx-fleet
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with $trainer.registry.signKeySecret }}
- name: vmafx-registry-sign-key
  secret:
    secretName: {{ . }}
{{- end }}
{{- with $trainer.registry.publicKeyConfigMap }}
- name: vmafx-registry-public-key
  configMap:
    name: {{ . }}
{{- end }}
{{- with $trainer.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* For `volumeClaimTemplates` of a node's StatefulSet, where each pod has a claim of its own. */}}
{{- define "vmafx.sidecarClaimTemplates" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- if and $trainer.enabled (eq $trainer.models.claim "perPod") -}}
- metadata:
    name: vmafx-models
  spec:
    {{- include "vmafx.claimSpec" . | nindent 4 }}
{{- end -}}
{{- end -}}

{{/* For `volumeMounts` of the node's own container, which only reads the models. Needs vmafx.nodeEnv. */}}
{{- define "vmafx.nodeVolumeMounts" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- if $trainer.enabled -}}
- name: vmafx-socket
  mountPath: {{ dir $trainer.settings.socket }}
- name: vmafx-models
  mountPath: {{ $trainer.modelsMountPath }}
  subPathExpr: {{ $trainer.models.folder }}
  readOnly: true
{{- if include "vmafx.baseModelConfigMap" . }}
- name: vmafx-base-model
  mountPath: {{ include "vmafx.baseModelMountPath" . }}
  readOnly: true
{{- end }}
{{- end -}}
{{- end -}}

{{/* For `env` of the node's own container: where the socket and the checkpoints are. */}}
{{- define "vmafx.nodeEnv" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- if $trainer.enabled -}}
{{ include "vmafx.podNameEnv" . }}
- name: VMAFX_SIDECAR_SOCKET
  value: {{ $trainer.settings.socket | quote }}
- name: VMAFX_SIDECAR_CHECKPOINT_DIR
  value: {{ $trainer.settings.checkpointDir | quote }}
{{- end -}}
{{- end -}}

{{/* For `securityContext` of a node's pod: with the group, the sidecar may write to the volumes and a node to the socket. */}}
{{- define "vmafx.podSecurityContext" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- if and $trainer.enabled (int64 $trainer.runAsUser) -}}
fsGroup: {{ int64 $trainer.runAsUser }}
fsGroupChangePolicy: OnRootMismatch
{{- end -}}
{{- end -}}
