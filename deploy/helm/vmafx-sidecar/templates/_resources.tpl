{{/* The objects beside a node's pod: claim and Service, and what the flags ask for. */}}
{{- define "vmafx.sidecarResources" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- if $trainer.enabled -}}
{{- if not $trainer.models.existingClaim }}
{{ include "vmafx.claim" . }}
{{- end }}
---
{{ include "vmafx.service" . }}
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
  accessModes:
    {{- toYaml $models.accessModes | nindent 4 }}
  {{- with $models.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ $models.size }}
{{- end -}}

{{/* Also leads to a pod that is not ready: the operator wants to know why. */}}
{{- define "vmafx.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "vmafx.serviceName" . }}
  labels:
    {{- include "vmafx.labels" . | nindent 4 }}
spec:
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
