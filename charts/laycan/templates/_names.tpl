{{/* Names that Laycan's code, policies and documents share. The chart is a singleton: its cluster-scoped objects carry fixed names. */}}
{{- define "laycan.managedLabel" -}}laycan.dev/managed{{- end }}
{{- define "laycan.contractLabel" -}}laycan.dev/contract{{- end }}
{{- define "laycan.holderLabel" -}}laycan.node-restriction.kubernetes.io/holder{{- end }}
{{/* JSON list: what keeps cluster-autoscaler and Karpenter from removing a held node. */}}
{{- define "laycan.autoscalerAnnotations" -}}["cluster-autoscaler.kubernetes.io/scale-down-disabled","karpenter.sh/do-not-disrupt"]{{- end }}
{{- define "laycan.probeNamespace" -}}laycan-probe{{- end }}
{{- define "laycan.operatorUser" -}}system:serviceaccount:{{ .Release.Namespace }}:laycan-operator{{- end }}

{{- define "laycan.agentUser" -}}system:serviceaccount:{{ .Release.Namespace }}:laycan-agent{{- end }}

{{- define "laycan.labels" -}}
app.kubernetes.io/name: laycan
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "laycan.selector" -}}
app.kubernetes.io/name: laycan
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "laycan.agentSelector" -}}
app.kubernetes.io/name: laycan
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}

{{- define "laycan.monitorLabels" -}}
{{ include "laycan.labels" . }}
{{- with (.Values.serviceMonitor).labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The PersistentVolumeClaim of the log; empty where the log lives in the pod. Values of an older chart know none of it. */}}
{{- define "laycan.ledgerClaim" -}}
{{- $ledger := .Values.ledger | default dict -}}
{{- if ne (toString $ledger.enabled) "false" }}{{ $ledger.existingClaim | default "laycan-ledger" }}{{ end -}}
{{- end }}

{{- define "laycan.holdImage" -}}{{ (.Values.holdPods).image | default (include "laycan.image" .) }}{{- end }}

{{- define "laycan.image" -}}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{- end }}

{{/* JSON list. kube-system and the release's own namespace cannot be left out: a policy that reaches them can stop the cluster or its own repair. */}}
{{- define "laycan.exempt" -}}
{{- concat .Values.exemptNamespaces (list "kube-system" .Release.Namespace) | uniq | toJson -}}
{{- end }}

{{/* JSON list. An agent namespace that is exempt too is simply exempt. */}}
{{- define "laycan.agents" -}}{{ .Values.agentNamespaces | toJson }}{{- end }}

{{/* Annotations of rights that are there while the Job of the uninstall runs. */}}
{{- define "laycan.releaseRights" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: "-5"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}

{{/* What a refusal does: nothing but a warning and an audit note until the cluster's owner chose Enforce. */}}
{{- define "laycan.actions" -}}
{{- if eq .Values.mode "Enforce" }}[Deny]{{ else }}[Warn, Audit]{{ end -}}
{{- end }}
