{{/*
What else is in the pod that the sidecar is put into. To see it, the template file that is being rendered is rendered once
more, into a string; during that look the sidecar is a mark. So it does not matter what a node's chart includes first.
*/}}

{{- define "vmafx.plainMark" -}}vmafx-sidecar-plain{{- end -}}
{{- define "vmafx.nativeMark" -}}vmafx-sidecar-native{{- end -}}

{{/* "true" during a look. */}}
{{- define "vmafx.isLooking" -}}
{{- if hasKey . "vmafxLook" -}}true{{- end -}}
{{- end -}}

{{/* Returns, as YAML, whether the sidecar is an init container of the pod. Fails where a pod cannot work, and says why. */}}
{{- define "vmafx.lookAtPods" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- $_ := set . "vmafxLook" true -}}
{{- $text := include .Template.Name . -}}
{{- $_ := unset . "vmafxLook" -}}
{{- $plain := regexFindAll (include "vmafx.plainMark" .) $text -1 | len -}}
{{- $native := regexFindAll (include "vmafx.nativeMark" .) $text -1 | len -}}
{{- if and (not $native) (eq $trainer.mode "native") -}}
{{- fail "sidecar.trainer.mode is native, and no pod has vmafx.sidecarInitContainer in its initContainers" -}}
{{- end -}}
{{- if and $plain $native (ne $plain $native) -}}
{{- fail (printf "%s: some pods have vmafx.sidecarInitContainer and others only vmafx.sidecarContainer; give each pod a file of its own" .Template.Name) -}}
{{- end -}}
{{- range regexSplit "(?m)^---" $text -1 -}}
{{- if regexMatch "vmafx-sidecar-(plain|native)" . -}}
{{- include "vmafx.checkWorkload" (dict "root" $ "workload" (fromYaml .)) -}}
{{- end -}}
{{- end -}}
native: {{ gt $native 0 }}
{{- end -}}

{{- define "vmafx.checkWorkload" -}}
{{- $trainer := include "vmafx.trainer" .root | fromYaml -}}
{{- $workload := .workload -}}
{{- $name := printf "%s %s" $workload.kind (dig "metadata" "name" "" $workload) -}}
{{- $spec := $workload.spec | default dict -}}
{{- $pod := dig "template" "spec" (dig "jobTemplate" "spec" "template" "spec" $spec $spec) $spec -}}
{{- $has := list -}}
{{- range $pod.volumes }}{{ $has = append $has .name }}{{ end -}}
{{- range $spec.volumeClaimTemplates }}{{ $has = append $has .metadata.name }}{{ end -}}
{{- $lacks := list -}}
{{- range (include "vmafx.container" .root | fromYamlArray | first).volumeMounts -}}
{{- if not (has .name $has) }}{{ $lacks = append $lacks .name }}{{ end -}}
{{- end -}}
{{- if $lacks -}}
{{- fail (printf "%s: vmafx-sidecar mounts volumes that the pod does not have: %s. Include vmafx.sidecarVolumes in its `volumes`%s, or give it volumes with these names" $name (join ", " $lacks) (ternary ", and vmafx.sidecarClaimTemplates in the StatefulSet's `volumeClaimTemplates`" "" (eq $trainer.models.claim "perPod"))) -}}
{{- end -}}
{{- $replicas := int (default 1 $spec.replicas) -}}
{{- if and (eq $trainer.models.claim "shared") (not (contains "$(" $trainer.models.folder)) -}}
{{- if or (gt $replicas 1) (eq $workload.kind "DaemonSet") -}}
{{- fail (printf "%s: its pods would share the directory models.folder=%s; a directory has one writer. Leave models.folder as $(POD_NAME)" $name $trainer.models.folder) -}}
{{- end -}}
{{- if and (eq $workload.kind "Deployment") (ne (dig "strategy" "type" "" $spec) "Recreate") -}}
{{- fail (printf "%s: with models.folder=%s a rolling update would start the new pod while the old one holds the directory. Set strategy.type: Recreate, or leave models.folder as $(POD_NAME)" $name $trainer.models.folder) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $workload.kind "StatefulSet") (gt $replicas 1) (not $trainer.service.pod) -}}
{{- fail (printf "%s: the operator's Service would reach another pod each time. Set sidecar.trainer.service.pod to the pod that answers for the training: %s-0" $name $workload.metadata.name) -}}
{{- end -}}
{{- end -}}
