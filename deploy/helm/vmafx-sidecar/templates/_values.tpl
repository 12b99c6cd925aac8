{{/*
What the other templates look up. All of them take a chart's root context: this chart's, or that of a node's chart that
has this one as a dependency and sets only what differs under its own `sidecar.trainer`.
*/}}

{{/* The effective sidecar.trainer, as YAML. */}}
{{- define "vmafx.trainer" -}}
{{- $trainer := (.Values.sidecar).trainer | default dict -}}
{{- with index .Subcharts "vmafx-sidecar" -}}
{{- $trainer = mergeOverwrite (deepCopy .Values.sidecar.trainer) $trainer -}}
{{- end -}}
{{- toYaml $trainer -}}
{{- end -}}

{{/* The effective sidecar.fleet, as YAML. */}}
{{- define "vmafx.fleet" -}}
{{- $fleet := (.Values.sidecar).fleet | default dict -}}
{{- with index .Subcharts "vmafx-sidecar" -}}
{{- $fleet = mergeOverwrite (deepCopy .Values.sidecar.fleet) $fleet -}}
{{- end -}}
{{- toYaml $fleet -}}
{{- end -}}

{{- define "vmafx.appVersion" -}}
{{- (default . (index .Subcharts "vmafx-sidecar")).Chart.AppVersion -}}
{{- end -}}

{{- define "vmafx.serviceName" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- printf "vmafx-trainer-%s" (default .Release.Name $trainer.name) | trunc 58 | trimSuffix "-" -}}
{{- end -}}

{{- define "vmafx.podsServiceName" -}}
{{- include "vmafx.serviceName" . }}-pods
{{- end -}}

{{/* What the Service selects: for the labels of a node's pod, beside that pod's own. */}}
{{- define "vmafx.selectorLabels" -}}
{{- if (include "vmafx.trainer" . | fromYaml).enabled -}}
vmafx-trainer: {{ include "vmafx.serviceName" . }}
{{- end -}}
{{- end -}}

{{- define "vmafx.labels" -}}
{{ include "vmafx.selectorLabels" . }}
app.kubernetes.io/name: vmafx-sidecar
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ include "vmafx.appVersion" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "vmafx.claimName" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- default (include "vmafx.serviceName" .) $trainer.models.existingClaim -}}
{{- end -}}

{{/* The ConfigMap that holds the base model; nothing where it is elsewhere. */}}
{{- define "vmafx.baseModelConfigMap" -}}
{{- $model := (include "vmafx.trainer" . | fromYaml).baseModel -}}
{{- if $model.files -}}
{{ include "vmafx.serviceName" . }}-base-model
{{- else -}}
{{ $model.configMap }}
{{- end -}}
{{- end -}}

{{- define "vmafx.baseModelMountPath" -}}/base-model{{- end -}}

{{/* VMAFX_BASE_MODEL_PATH: where baseModelPath says, else the first of the files. */}}
{{- define "vmafx.baseModelPath" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- with $trainer.baseModelPath -}}
{{ . }}
{{- else -}}
{{- with $trainer.baseModel.files -}}
{{ include "vmafx.baseModelMountPath" $ }}/{{ first . | base }}
{{- else -}}
{{- with $trainer.baseModel.configMap -}}
{{- fail (printf "baseModel.configMap is %s: set baseModelPath to the model's name in %s/" . (include "vmafx.baseModelMountPath" $)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" where vmafx.sidecarInitContainer makes the sidecar an init container that restarts. */}}
{{- define "vmafx.isNative" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- $able := semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version -}}
{{- if or (eq $trainer.mode "native") (and (eq $trainer.mode "auto") $able) -}}true{{- end -}}
{{- end -}}

{{/*
MiB of /dev/shm: the rows of the ring (with its 1024 spare slots), of the reservoir and of the held-out samples, each of
4 * (20 + n_features) bytes with n_features rounded up to an even number, the archive's buffer where there is an
archive, and the reserve.
*/}}
{{- define "vmafx.sharedMemoryMi" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- $settings := $trainer.settings -}}
{{- $rows := add $settings.replayCapacity 1024 $settings.reservoirCapacity $settings.holdoutCapacity -}}
{{- $rowBytes := mul 4 (add 20 $settings.nFeatures (mod $settings.nFeatures 2)) -}}
{{- $buffer := ternary (default 67108864 $settings.archiveBufferBytes) 0 (not (empty $settings.archiveDir)) -}}
{{- add $trainer.sharedMemory.reserveMi (div (add (mul $rows $rowBytes) $buffer 1048575) 1048576) -}}
{{- end -}}
