package main

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	prefix      = "profefe.com/"
	agentName   = "profefe-agent"
	agentPort   = 10101
	defaultPort = 6060
	tokenPath   = "/var/run/secrets/kubernetes.io/serviceaccount"
	version     = "0.1.0"
)

type injector struct {
	image     string
	collector string
}

type decision struct {
	result, reason          string
	namespace, pod, service string
}

// operation is one of RFC 6902.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func add(path string, value any) operation {
	return operation{Op: "add", Path: path, Value: value}
}

func isTrue(text string) bool {
	switch strings.ToLower(text) {
	case "true", "1", "t", "yes", "y", "on":
		return true
	}
	return false
}

func (i *injector) decide(pod *corev1.Pod, namespace string) (decision, []operation) {
	made := decision{result: "skipped", namespace: namespace, pod: pod.Name, service: serviceOf(pod)}
	if made.pod == "" {
		made.pod = pod.GenerateName
	}
	enable, annotated := pod.Annotations[prefix+"enable"]
	switch {
	case !annotated:
		made.reason = "not-annotated"
		return made, nil
	case !isTrue(enable):
		made.reason = "disabled"
		return made, nil
	case hasAgent(pod):
		made.result, made.reason = "unchanged", "already-injected"
		return made, nil
	case pod.Spec.HostNetwork:
		made.reason = "host-network"
		return made, []operation{status("skipped: host-network")}
	}
	port, app, found := findPort(pod)
	if !found {
		made.reason = "no-such-port"
		return made, []operation{status("skipped: no-such-port")}
	}
	made.result = "injected"
	return made, i.patch(pod, port, app, made.service)
}

func hasAgent(pod *corev1.Pod) bool {
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, container := range containers {
			if container.Name == agentName {
				return true
			}
		}
	}
	return false
}

// findPort gives the port of pprof and its container, "" where that is not clear: by the annotation (a number or a name), by
// the name "pprof", or the usual one.
func findPort(pod *corev1.Pod) (int, string, bool) {
	asked, annotated := pod.Annotations[prefix+"port"]
	if number, err := strconv.ParseUint(asked, 10, 16); err == nil {
		return int(number), ownerOf(pod, int32(number)), true
	}
	name := "pprof"
	if annotated {
		name = asked
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name {
				return int(port.ContainerPort), container.Name, true
			}
		}
	}
	return defaultPort, ownerOf(pod, defaultPort), !annotated
}

// ownerOf names the container that declares a port, or the only one.
func ownerOf(pod *corev1.Pod, number int32) string {
	if len(pod.Spec.Containers) == 1 {
		return pod.Spec.Containers[0].Name
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.ContainerPort == number {
				return container.Name
			}
		}
	}
	return ""
}

func serviceOf(pod *corev1.Pod) string {
	for _, key := range []string{"app.kubernetes.io/name", "app"} {
		if name := pod.Labels[key]; name != "" {
			return name
		}
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		return strings.TrimSuffix(owner.Name, "-"+pod.Labels["pod-template-hash"])
	}
	if pod.GenerateName != "" {
		return strings.TrimSuffix(pod.GenerateName, "-")
	}
	return pod.Name
}

func (i *injector) patch(pod *corev1.Pod, port int, app, service string) []operation {
	volume := corev1.Volume{Name: agentName,
		VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{}}}
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		grace = *pod.Spec.TerminationGracePeriodSeconds
	}
	container := i.container(port, app, service, grace)
	var patch []operation
	if len(pod.Spec.Volumes) > 0 {
		patch = append(patch, add("/spec/volumes/-", volume))
	} else {
		patch = append(patch, add("/spec/volumes", []corev1.Volume{volume}))
	}
	if len(pod.Spec.InitContainers) > 0 {
		patch = append(patch, add("/spec/initContainers/-", container))
	} else {
		patch = append(patch, add("/spec/initContainers", []corev1.Container{container}))
	}
	return append(patch, status("injected "+version))
}

// A pod that gets a status has annotations: without `enable` it gets none.
func status(text string) operation {
	return add("/metadata/annotations/profefe.com~1status", text)
}

func (i *injector) container(port int, app, service string, grace int64) corev1.Container {
	always, yes, no := corev1.ContainerRestartPolicyAlways, true, false
	memory := resource.MustParse("16Mi")
	env := []corev1.EnvVar{
		field("POD_NAME", "metadata.name"),
		field("POD_NAMESPACE", "metadata.namespace"),
		field("POD_UID", "metadata.uid"),
		field("NODE_NAME", "spec.nodeName"),
		field("POD_IP", "status.podIP"),
		{Name: "PROFEFE_AGENT_SIDECAR", Value: "1"},
		{Name: "PROFEFE_AGENT_TARGETS", Value: "http://localhost:" + strconv.Itoa(port) + "/debug/pprof"},
		{Name: "PROFEFE_AGENT_SERVICE", Value: service},
		{Name: "PROFEFE_AGENT_GRACE", Value: strconv.FormatInt(grace, 10)},
		{Name: "PROFEFE_AGENT_COLLECTOR", Value: i.collector},
	}
	if app != "" {
		env = append(env, corev1.EnvVar{Name: "PROFEFE_AGENT_CONTAINER", Value: app})
	}
	return corev1.Container{
		Name:          agentName,
		Image:         i.image,
		RestartPolicy: &always,
		Env:           env,
		Ports:         []corev1.ContainerPort{{Name: agentName, ContainerPort: agentPort, Protocol: corev1.ProtocolTCP}},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("5m"),
				corev1.ResourceMemory: memory,
			},
			Limits: corev1.ResourceList{corev1.ResourceMemory: memory},
		},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no,
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			ReadOnlyRootFilesystem:   &yes,
			RunAsNonRoot:             &yes,
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: agentName, MountPath: tokenPath, ReadOnly: true}},
	}
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name,
		ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}
