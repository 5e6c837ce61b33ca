{{/* What the operator's pod and the Job of the uninstall have in common. */}}
{{- define "laycan.pod" -}}
serviceAccountName: laycan-operator
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- {name: {{ quote . }}}
{{- end }}
{{- end }}
priorityClassName: {{ .Values.operator.priorityClassName | default "laycan-operator" }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # the log's volume becomes writable for the operator, who is not root
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.operator.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
      # never on a node that Laycan itself may drain
      - matchExpressions:
        - {key: {{ include "laycan.managedLabel" . }}, operator: NotIn, values: ["true"]}
{{- end }}

{{- define "laycan.volumes" -}}
- name: settings
  configMap: {name: laycan-settings}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- end }}

{{- define "laycan.container" -}}
image: {{ include "laycan.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "laycan.mounts" -}}
- {name: settings, mountPath: /etc/laycan, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end }}
