{{/* The objects beside a node's pod: claim, Services, base model, and what the flags ask for. */}}
{{- define "vmafx.sidecarResources" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- if $trainer.enabled -}}
{{- if and (eq $trainer.models.claim "shared") (not $trainer.models.existingClaim) }}
---
{{ include "vmafx.claim" . }}
{{- end }}
{{- if $trainer.baseModel.files }}
---
{{ include "vmafx.baseModel" . }}
{{- end }}
---
{{ include "vmafx.service" . }}
---
{{ include "vmafx.podsService" . }}
{{- if $trainer.networkPolicy.enabled }}
---
{{ include "vmafx.networkPolicy" . }}
{{- end }}
{{- if $trainer.serviceMonitor.enabled }}
---
{{ include "vmafx.serviceMonitor" . }}
{{- end }}
{{- if $trainer.prometheusRule.enabled }}
---
{{ include "vmafx.prometheusRule" . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Outlives the release: the models are worth more than the deployment. */}}
{{- define "vmafx.claim" -}}
{{- $models := (include "vmafx.trainer" . | fromYaml).models -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "vmafx.claimName" . }}
  annotations:
    helm.sh/resource-policy: keep
  labels:
    {{- include "vmafx.labels" . | nindent 4 }}
spec:
  {{- include "vmafx.claimSpec" . | nindent 2 }}
{{- end -}}

{{- define "vmafx.claimSpec" -}}
{{- $models := (include "vmafx.trainer" . | fromYaml).models -}}
accessModes:
  {{- toYaml $models.accessModes | nindent 2 }}
{{- with $models.storageClassName }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ $models.size }}
{{- end -}}

{{- define "vmafx.baseModel" -}}
{{- $files := .Files -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "vmafx.baseModelConfigMap" . }}
  labels:
    {{- include "vmafx.labels" . | nindent 4 }}
binaryData:
  {{- range (include "vmafx.trainer" . | fromYaml).baseModel.files }}
  {{- $content := $files.Get . }}
  {{- if not $content }}
  {{- fail (printf "baseModel.files: the chart %s has no file %s" $.Chart.Name .) }}
  {{- end }}
  {{ base . }}: {{ $content | b64enc }}
  {{- end }}
{{- end -}}

{{/*
What the operator polls: one pod. Also leads to a pod that is not ready: the operator wants to know why. The affinity is
for pods of a Deployment, whose names nobody knows beforehand.
*/}}
{{- define "vmafx.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "vmafx.serviceName" . }}
  labels:
    {{- include "vmafx.labels" . | nindent 4 }}
spec:
  publishNotReadyAddresses: true
  sessionAffinity: ClientIP
  selector:
    {{- include "vmafx.selectorLabels" . | nindent 4 }}
    {{- with (include "vmafx.trainer" . | fromYaml).service.pod }}
    statefulset.kubernetes.io/pod-name: {{ tpl . $ }}
    {{- end }}
  ports:
    - name: http
      port: 9091
      targetPort: vmafx-sidecar
{{- end -}}

{{/* All pods, each under its own name: for Prometheus, and as the serviceName of a StatefulSet. */}}
{{- define "vmafx.podsService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "vmafx.podsServiceName" . }}
  labels:
    {{- include "vmafx.labels" . | nindent 4 }}
    app.kubernetes.io/component: pods
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "vmafx.selectorLabels" . | nindent 4 }}
  ports:
    - name: http
      port: 9091
      targetPort: vmafx-sidecar
{{- end -}}

{{- define "vmafx.networkPolicy" -}}
{{- $policy := (include "vmafx.trainer" . | fromYaml).networkPolicy -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "vmafx.serviceName" . }}
  labels:
    {{- include "vmafx.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "vmafx.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress]
  {{- with $policy.from }}
  ingress:
    - from:
        {{- toYaml . | nindent 8 }}
      ports:
        - port: 9091
  {{- end }}
{{- end -}}

{{/* jobLabel: the alerts know the job as vmafx-sidecar, whatever the Service is called. */}}
{{- define "vmafx.serviceMonitor" -}}
{{- $monitor := (include "vmafx.trainer" . | fromYaml).serviceMonitor -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ include "vmafx.serviceName" . }}
  labels:
    {{- include "vmafx.labels" . | nindent 4 }}
    {{- with $monitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  jobLabel: app.kubernetes.io/name
  selector:
    matchLabels:
      {{- include "vmafx.selectorLabels" . | nindent 6 }}
      app.kubernetes.io/component: pods
  endpoints:
    - port: http
      path: /metrics
      interval: {{ $monitor.interval }}
{{- end -}}

{{- define "vmafx.prometheusRule" -}}
{{- $rule := (include "vmafx.trainer" . | fromYaml).prometheusRule -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "vmafx.serviceName" . }}
  labels:
    {{- include "vmafx.labels" . | nindent 4 }}
    {{- with $rule.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- (default . (index .Subcharts "vmafx-sidecar")).Files.Get "files/alerts.yaml" | nindent 2 }}
{{- end -}}
