{{- define "aglow.name" -}}
{{- if eq .Release.Name .Chart.Name -}}{{ .Chart.Name }}{{- else -}}{{ printf "%s-aglow" .Release.Name | trunc 52 | trimSuffix "-" }}{{- end -}}
{{- end }}

{{- define "aglow.selector" -}}
app.kubernetes.io/name: aglow
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "aglow.labels" -}}
{{ include "aglow.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Helm reads whole numbers as fractions, and would write 10000000 as 1e+07. */ -}}
{{- define "aglow.text" -}}
{{- if kindIs "float64" . -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end }}

{{- define "aglow.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* Settings are plain variables. Secrets are files of a volume, so that nothing shows them. */ -}}
{{- define "aglow.env" -}}
- { name: AGLOW_URLS, value: "http://0.0.0.0:8080" }
- { name: AGLOW_SECRETS, value: /run/secrets/aglow }
- { name: AGLOW_LOG_FORMAT, value: json }
- { name: AGLOW_AUTH, value: {{ .Values.auth }} }
{{- if eq .Values.auth "open" }}
- { name: AGLOW_ALLOW_OPEN, value: "true" }
{{- end }}
{{- with .Values.trustedProxies }}
- { name: AGLOW_TRUSTED_PROXIES, value: {{ . | quote }} }
{{- end }}
{{- if .Values.redis }}
- { name: AGLOW_REDIS, value: {{ .Values.redis | quote }} }
{{- with .Values.postgres }}
- { name: AGLOW_POSTGRES, value: {{ . | quote }} }
{{- end }}
# nothing is written there: keys.json is read, if the secret has one
- { name: AGLOW_DATA, value: /etc/aglow }
{{- else }}
- { name: AGLOW_DATA, value: /data }
{{- end }}
- name: AGLOW_NODE_NAME
  valueFrom:
    fieldRef: { fieldPath: metadata.name }
{{- range $name, $value := .Values.settings }}
- { name: AGLOW_{{ $name | upper | replace "-" "_" }}, value: {{ include "aglow.text" $value | quote }} }
{{- end }}
{{- end }}

{{- define "aglow.pod" -}}
metadata:
  labels:
    {{- include "aglow.labels" . | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  # the hook's 5 s, 10 s for sending clients elsewhere (drain-seconds), 15 s for pending calls, and a margin
  terminationGracePeriodSeconds: 40
  {{- if .Values.redis }}
  affinity:
    podAntiAffinity:
      # losing a machine loses one node
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "aglow.selector" . | nindent 16 }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "aglow.selector" . | nindent 10 }}
  {{- end }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 1654
    runAsGroup: 1654
    # the group of the secrets and of the volume
    fsGroup: 1654
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  containers:
    - name: aglow
      image: {{ include "aglow.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      ports:
        - { name: http, containerPort: 8080 }
      env:
        {{- include "aglow.env" . | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      startupProbe:
        httpGet: { path: /health/ready, port: http }
        periodSeconds: 1
        failureThreshold: 60
      # a node is not ready while its store is away or while it stops: it gets no new connections, and keeps those that it has
      readinessProbe:
        httpGet: { path: /health/ready, port: http }
        periodSeconds: 2
        failureThreshold: 2
      livenessProbe:
        httpGet: { path: /health/live, port: http }
        periodSeconds: 10
        failureThreshold: 6
      lifecycle:
        # until every balancer knows that this node stops; then SIGTERM
        preStop:
          sleep: { seconds: 5 }
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: tmp, mountPath: /tmp }
        - { name: secrets, mountPath: /run/secrets/aglow, readOnly: true }
        {{- if .Values.redis }}
        - { name: keys, mountPath: /etc/aglow, readOnly: true }
        {{- else }}
        - { name: data, mountPath: /data }
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: { sizeLimit: 16Mi }
    - name: secrets
      secret: { secretName: {{ .Values.existingSecret }}, optional: true, defaultMode: 288 }
    {{- if .Values.redis }}
    - name: keys
      secret: { secretName: {{ .Values.keysSecret }}, optional: true, defaultMode: 288 }
    {{- end }}
{{- end }}
