#include "common/pod/pod_nodes.h"

#include <string.h>
#include <strings.h>

/* What a Linux node of an architecture has as the value of a label. */
enum label_kind {
    LABEL_LINUX,        /* "linux", on every node */
    LABEL_ARCHITECTURE, /* the architecture, on every node */
    LABEL_OF_WINDOWS,   /* nothing: Windows nodes alone have it */
    LABEL_SYSTEM,       /* a system of any name that does not begin with Windows */
};

/* Kubernetes: k8s.io/api/core/v1 well_known_labels.go. GKE, AKS and OpenShift: their nodes' own. */
static const struct node_label {
    const char *key;
    enum label_kind kind;
} node_labels[] = {
    {"kubernetes.io/os", LABEL_LINUX},
    {"beta.kubernetes.io/os", LABEL_LINUX},
    {"kubernetes.io/arch", LABEL_ARCHITECTURE},
    {"beta.kubernetes.io/arch", LABEL_ARCHITECTURE},
    {"node.kubernetes.io/windows-build", LABEL_OF_WINDOWS},
    {"cloud.google.com/gke-os-distribution", LABEL_SYSTEM},
    {"kubernetes.azure.com/os-sku", LABEL_SYSTEM},
    {"kubernetes.azure.com/os-sku-requested", LABEL_SYSTEM},
    {"kubernetes.azure.com/os-sku-effective", LABEL_SYSTEM},
    {"node.openshift.io/os_id", LABEL_SYSTEM},
};

/* A kind of node that is ours: Linux, and of this architecture or, with a NULL ptr, of any. */
struct candidate {
    struct span architecture;
};

static const struct node_label *find_label(const char *key)
{
    for (size_t i = 0; key != NULL && i < sizeof(node_labels) / sizeof(node_labels[0]); i++) {
        if (strcmp(key, node_labels[i].key) == 0)
            return &node_labels[i];
    }
    return NULL;
}

static bool can_have(const struct candidate *node, enum label_kind kind, const char *value)
{
    static const char windows[] = "windows";
    switch (kind) {
    case LABEL_LINUX:
        return strcmp(value, "linux") == 0;
    case LABEL_ARCHITECTURE:
        return node->architecture.ptr == NULL || span_equal(node->architecture, value);
    case LABEL_OF_WINDOWS:
        return false;
    default:
        return strncasecmp(value, windows, sizeof(windows) - 1) != 0;
    }
}

/* Is it the one value that such a node has? */
static bool must_have(const struct candidate *node, enum label_kind kind, const char *value)
{
    if (kind == LABEL_ARCHITECTURE && node->architecture.ptr == NULL)
        return false;
    return kind <= LABEL_ARCHITECTURE && can_have(node, kind, value);
}

/* No value at all, and one that is no text, say nothing: the API server refuses such a pod after us. */
static bool is_let_in_by_values(const struct candidate *node, enum label_kind kind, const cJSON *values)
{
    const cJSON *value;
    cJSON_ArrayForEach(value, values)
    {
        if (!cJSON_IsString(value) || can_have(node, kind, value->valuestring))
            return true;
    }
    return values == NULL || values->child == NULL;
}

static bool is_kept_out_by_values(const struct candidate *node, enum label_kind kind, const cJSON *values)
{
    const cJSON *value;
    cJSON_ArrayForEach(value, values)
    {
        if (cJSON_IsString(value) && must_have(node, kind, value->valuestring))
            return true;
    }
    return false;
}

/* The other operators let in a node without the label, or say nothing of it that is known here. */
static bool needs_label(const char *operator)
{
    return strcmp(operator, "Exists") == 0 || strcmp(operator, "Gt") == 0 || strcmp(operator, "Lt") == 0;
}

static bool expression_lets_in(const struct candidate *node, const cJSON *expression)
{
    const struct node_label *label = find_label(json_get_text(expression, "key"));
    const char *operator = json_get_text(expression, "operator");
    if (label == NULL || operator == NULL)
        return true;
    const cJSON *values = json_get_array(expression, "values");
    if (strcmp(operator, "In") == 0)
        return is_let_in_by_values(node, label->kind, values);
    if (strcmp(operator, "NotIn") == 0)
        return !is_kept_out_by_values(node, label->kind, values);
    return label->kind != LABEL_OF_WINDOWS || !needs_label(operator);
}

/* The expressions of a term are and-ed. */
static bool term_lets_in(const struct candidate *node, const cJSON *term)
{
    const cJSON *expression;
    cJSON_ArrayForEach(expression, json_get_array(term, "matchExpressions"))
    {
        if (!expression_lets_in(node, expression))
            return false;
    }
    return true;
}

/* What the pod asks of its nodes; NULL = nothing. */
struct wishes {
    const cJSON *selector;
    const cJSON *terms;
};

static struct wishes read_wishes(const struct pod *pod)
{
    const cJSON *affinity = json_get(json_get(pod->spec, "affinity"), "nodeAffinity");
    return (struct wishes){
        .selector = json_get_object(pod->spec, "nodeSelector"),
        .terms = json_get_array(json_get(affinity, "requiredDuringSchedulingIgnoredDuringExecution"),
                                "nodeSelectorTerms"),
    };
}

static bool is_empty_list(const cJSON *list)
{
    return list == NULL || list->child == NULL;
}

/* To the scheduler a term without a word lets no node in. */
static bool is_empty_term(const cJSON *term)
{
    return is_empty_list(json_get_array(term, "matchExpressions")) &&
           is_empty_list(json_get_array(term, "matchFields"));
}

/* Terms are or-ed. Where all are empty, or there is none, nothing is known of the nodes. */
static bool affinity_lets_in(const struct candidate *node, const cJSON *terms)
{
    bool known = false;
    const cJSON *term;
    cJSON_ArrayForEach(term, terms)
    {
        if (is_empty_term(term))
            continue;
        if (term_lets_in(node, term))
            return true;
        known = true;
    }
    return !known;
}

static bool selector_lets_in(const struct candidate *node, const cJSON *selector)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, selector)
    {
        const struct node_label *label = find_label(item->string);
        if (label != NULL && cJSON_IsString(item) && !can_have(node, label->kind, item->valuestring))
            return false;
    }
    return true;
}

static bool let_in(const struct wishes *wishes, struct span architecture)
{
    const struct candidate node = {architecture};
    return selector_lets_in(&node, wishes->selector) && affinity_lets_in(&node, wishes->terms);
}

static bool let_in_one_of(const struct wishes *wishes, struct span architectures)
{
    struct span item;
    unsigned count = 0;
    for (; count < POD_NODES_ARCHITECTURES_MAX && span_next_item(&architectures, &item); count++) {
        if (let_in(wishes, item))
            return true;
    }
    return count == 0;
}

/* Refused together with os.name linux, so nobody means Linux by it (core/validation, 1.34). */
static bool has_windows_options(const struct pod *pod)
{
    struct pod_iter iter = {.pod = pod};
    const cJSON *options = json_get(json_get(pod->spec, "securityContext"), "windowsOptions");
    while ((options == NULL || options->child == NULL) && pod_iter_next(&iter))
        options = json_get(json_get(iter.item, "securityContext"), "windowsOptions");
    return options != NULL && options->child != NULL;
}

static bool says_windows(const struct pod *pod)
{
    const char *name = json_get_text(json_get(pod->spec, "os"), "name");
    return (name != NULL && strcmp(name, "windows") == 0) || has_windows_options(pod);
}

enum pod_nodes pod_nodes_judge(const struct pod *pod, struct span architectures)
{
    if (says_windows(pod))
        return POD_NODES_WINDOWS;
    const struct wishes wishes = read_wishes(pod);
    if (wishes.selector == NULL && wishes.terms == NULL) /* as most pods */
        return POD_NODES_OURS;
    if (!let_in(&wishes, (struct span){NULL, 0}))
        return POD_NODES_WINDOWS;
    return let_in_one_of(&wishes, architectures) ? POD_NODES_OURS : POD_NODES_ARCHITECTURE;
}
