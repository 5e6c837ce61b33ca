{{/*
CEL that several policies share, as text: matchConditions cannot use variables, and a MutatingAdmissionPolicy cannot import.
*/}}

{{/*
The pod (or the template of a DaemonSet) asks for a GPU, or asks to be steered. meta, spec: paths of its metadata and PodSpec.
Claims named laycan-* are exact GPUs of a contract: the claim itself says where its pods run.
*/}}
{{- define "laycan.cel.held" -}}
({{ .meta }}.?annotations['laycan.dev/placement'].orValue('') == 'held'
|| {{ .spec }}.?resourceClaims.orValue([]).exists(c, !c.?resourceClaimName.orValue('').startsWith('laycan-'))
|| ([{{ .spec }}] + {{ .spec }}.containers + {{ .spec }}.?initContainers.orValue([])).exists(c,
[c.?resources.?limits.orValue({}), c.?resources.?requests.orValue({})].exists(m,
m.exists(k, (k.startsWith('nvidia.com/') || k.startsWith('deviceclass.resource.kubernetes.io/')) && string(m[k]) != '0'))))
{{- end }}

{{/* Held, and in a namespace that a cluster admin gave to a desk: such a pod goes to the namespace's own nodes. */}}
{{- define "laycan.cel.holder" -}}
'laycan.dev/desk' in namespaceObject.metadata.?labels.orValue({}) && {{ include "laycan.cel.held" . }}
{{- end }}

{{/*
In a desk's namespace, and all its GPUs are a contract's exact ones. Nothing is added to what it requires of its node: also while others are kept off that
node for a moment, since GPUs of it change hands, its holders' pods start there.
*/}}
{{- define "laycan.cel.exact" -}}
'laycan.dev/desk' in namespaceObject.metadata.?labels.orValue({}) && size({{ .spec }}.?resourceClaims.orValue([])) > 0
&& !{{ include "laycan.cel.held" . }}
{{- end }}

{{/* A static pod's mirror. Anybody can write the annotation, only a node's own identity is believed. */}}
{{- define "laycan.cel.mirror" -}}
('system:nodes' in request.userInfo.groups && 'kubernetes.io/config.mirror' in object.metadata.?annotations.orValue({}))
{{- end }}

{{/* The request binds a pod to a node: the subresource of the pod, or the legacy kind Binding. */}}
{{- define "laycan.cel.binding" -}}
(request.?subResource.orValue('') == 'binding' || request.resource.resource == 'bindings')
{{- end }}

{{/* Steers to the namespace's nodes. path: JSON path of the PodSpec, spec: its CEL path. */}}
{{- define "laycan.cel.steer" -}}
(has({{ .spec }}.nodeSelector) ? [] : [JSONPatch{op: "add", path: "{{ .path }}/nodeSelector", value: {}}])
+ [JSONPatch{op: "add", path: "{{ .path }}/nodeSelector/{{ include "laycan.holderLabel" . | replace "/" "~1" }}", value: request.namespace}]
{{- end }}

{{/*
Adds "no holder" to what the pod already requires of its node. Terms are ORed, so it goes into each; a term without any
expression matches no node and must stay empty, or it would begin to match. Uses variables terms, req and p.
*/}}
{{- define "laycan.cel.keepOff" -}}
size(variables.terms) > 0 ?
  variables.terms.transformList(i, t,
    (size(t.?matchExpressions.orValue([])) > 0 || size(t.?matchFields.orValue([])) > 0)
      && !t.?matchExpressions.orValue([]).exists(e, e.key == "{{ include "laycan.holderLabel" . }}" && e.operator == "DoesNotExist"),
    size(t.?matchExpressions.orValue([])) > 0 ?
      JSONPatch{op: "add", path: variables.p + "/nodeSelectorTerms/" + string(i) + "/matchExpressions/-", value: variables.req}
    : JSONPatch{op: "add", path: variables.p + "/nodeSelectorTerms/" + string(i) + "/matchExpressions", value: [variables.req]})
: (has({{ .spec }}.affinity) ? [] : [JSONPatch{op: "add", path: "{{ .path }}/affinity", value: {}}])
  + (has({{ .spec }}.affinity) && has({{ .spec }}.affinity.nodeAffinity) ? [] : [JSONPatch{op: "add", path: "{{ .path }}/affinity/nodeAffinity", value: {}}])
  + [JSONPatch{op: "add", path: variables.p, value: {"nodeSelectorTerms": [{"matchExpressions": [variables.req]}]}}]
{{- end }}

{{- define "laycan.cel.keepOffVariables" -}}
- name: terms
  expression: {{ .spec }}.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms.orValue([])
- name: req
  expression: '{"key": "{{ include "laycan.holderLabel" . }}", "operator": "DoesNotExist"}'
- name: p
  expression: "'{{ .path }}/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution'"
{{- end }}

{{/* matchConstraints' namespaceSelector: not exempt. By the label that the API server itself sets and nobody can forge or forget. */}}
{{- define "laycan.notExempt" -}}
- {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ include "laycan.exempt" . }}}
{{- end }}
