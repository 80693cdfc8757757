#include "common/values/url.h"

#include "common/base/ascii.h"
#include "common/base/number.h"
#include "common/base/quote.h"
#include "common/base/span.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool take_prefix(struct span *text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (text->len < len || !span_equal_nocase((struct span){text->ptr, len}, prefix))
        return false;
    *text = (struct span){text->ptr + len, text->len - len};
    return true;
}

static size_t put_part(char *out, size_t used, const char *bytes, size_t len)
{
    memcpy(out + used, bytes, len);
    return used + len;
}

/* What a message may show of a text that is no URL of ours: what stands before an @ or after a ? may be a secret, and
 * the message goes to logs, /status and whoever creates a pod. */
static const char *quote_without_secrets(struct quoted *out, struct span text)
{
    static const char left_out[] = "…";
    char shown[QUOTE_MAX + sizeof("https://") + 2 * sizeof(left_out)];
    struct span rest = text;
    bool has_scheme = take_prefix(&rest, "https://") || take_prefix(&rest, "http://");
    size_t used = has_scheme ? put_part(shown, 0, text.ptr, text.len - rest.len) : 0;
    const char *at = rest.len > 0 ? memrchr(rest.ptr, '@', rest.len) : NULL;
    if (at != NULL) {
        used = put_part(shown, used, left_out, sizeof(left_out) - 1);
        rest = (struct span){at, rest.len - (size_t)(at - rest.ptr)};
    }
    const char *query = rest.len > 0 ? memchr(rest.ptr, '?', rest.len) : NULL;
    size_t len = query != NULL ? (size_t)(query - rest.ptr) + 1 : rest.len;
    used = put_part(shown, used, rest.ptr, len <= QUOTE_MAX ? len : QUOTE_MAX + 1); /* quote_bytes cuts it */
    if (query != NULL)
        used = put_part(shown, used, left_out, sizeof(left_out) - 1);
    return quote_bytes(out, shown, used);
}

static int bad_url(struct span text, const char *what, struct err *err)
{
    struct quoted q;
    return err_set(err, EINVAL, "expected http://HOST[:PORT][/PATH] or https://…, got %s (%s)",
                   quote_without_secrets(&q, text), what);
}

static int too_long(struct span text, struct err *err)
{
    char what[32];
    snprintf(what, sizeof(what), "longer than %d bytes", URL_MAX);
    return bad_url(text, what, err);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* RFC 3986 §3.3 pchar, without the comma that separates our lists. */
static bool is_path_char(char c)
{
    return ascii_is_word(c) || (c != '\0' && strchr("-._~!$&'()*+;=:@/", c) != NULL);
}

static const char *path_fault(struct span path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] == '%') {
            if (i + 2 >= path.len || !is_hex(path.ptr[i + 1]) || !is_hex(path.ptr[i + 2]))
                return "% must be followed by two hexadecimal digits";
            i += 2;
        } else if (path.ptr[i] == '?' || path.ptr[i] == '#') {
            return "no query or fragment";
        } else if (!is_path_char(path.ptr[i])) {
            return "a character that a path cannot hold";
        }
    }
    return NULL;
}

int url_check_path(struct span text, struct err *err)
{
    const char *fault = text.len == 0 || text.ptr[0] != '/' ? "it must begin with /" : path_fault(text);
    struct quoted q;
    if (fault != NULL)
        return err_set(err, EINVAL, "expected an absolute path such as /debug/pprof, got %s (%s)",
                       quote_bytes(&q, text.ptr, text.len), fault);
    return 0;
}

/* family: AF_INET or AF_INET6; *ret has room for its address. */
static bool read_address(struct span host, int family, void *ret)
{
    char text[INET6_ADDRSTRLEN];
    if (host.len >= sizeof(text))
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    return strlen(text) == host.len && inet_pton(family, text, ret) == 1;
}

static bool is_ipv6(struct span host)
{
    struct in6_addr address;
    return read_address(host, AF_INET6, &address);
}

bool url_is_loopback(const struct url *url)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (read_address(url->host, AF_INET, &v4))
        return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    if (read_address(url->host, AF_INET6, &v6))
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return span_equal_nocase(url->host, "localhost");
}

static const char *host_fault(struct span host, bool bracketed)
{
    if (host.len == 0)
        return "the host is missing";
    if (bracketed)
        return is_ipv6(host) ? NULL : "no IPv6 address between [ and ]";
    if (host.len > 253)
        return "the host is longer than 253 bytes";
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (!ascii_is_word(c) && c != '-' && c != '.' && c != '_')
            return "a character that a host name cannot hold";
    }
    return NULL;
}

/* Splits "HOST[:PORT]" and "[V6][:PORT]"; *ret_port is the text after the colon or empty. */
static const char *split_authority(struct span authority, struct span *ret_host, struct span *ret_port)
{
    bool bracketed = authority.len > 0 && authority.ptr[0] == '[';
    const char *end = authority.ptr + authority.len;
    const char *colon;
    if (memchr(authority.ptr, '@', authority.len) != NULL)
        return "no user or password in a URL";
    if (bracketed) {
        const char *close = memchr(authority.ptr, ']', authority.len);
        if (close == NULL)
            return "a [ without its ]";
        *ret_host = (struct span){authority.ptr + 1, (size_t)(close - authority.ptr) - 1};
        colon = close + 1;
        if (colon < end && *colon != ':')
            return "expected :PORT after ]";
    } else {
        colon = memchr(authority.ptr, ':', authority.len);
        if (colon == NULL)
            colon = end;
        *ret_host = (struct span){authority.ptr, (size_t)(colon - authority.ptr)};
    }
    *ret_port = colon < end ? (struct span){colon + 1, (size_t)(end - colon) - 1} : (struct span){NULL, 0};
    if (colon < end && ret_port->len == 0)
        return "the port is missing";
    return host_fault(*ret_host, bracketed);
}

int url_parse(struct span text, struct url *ret, struct err *err)
{
    struct span rest = text;
    struct url url = {0};
    if (text.len > URL_MAX)
        return too_long(text, err);
    if (take_prefix(&rest, "https://"))
        url.https = true;
    else if (!take_prefix(&rest, "http://"))
        return bad_url(text, "it must begin with http:// or https://", err);
    size_t authority_len = 0;
    while (authority_len < rest.len && strchr("/?#", rest.ptr[authority_len]) == NULL)
        authority_len++;
    struct span port;
    const char *fault = split_authority((struct span){rest.ptr, authority_len}, &url.host, &port);
    if (fault != NULL)
        return bad_url(text, fault, err);
    uint64_t number = url.https ? 443 : 80;
    if (port.len > 0 && number_parse_u64(port, 1, 65535, &number, NULL) < 0)
        return bad_url(text, "the port must be 1 to 65535", err);
    url.port = (uint16_t)number;
    url.path = (struct span){rest.ptr + authority_len, rest.len - authority_len};
    fault = path_fault(url.path);
    if (fault != NULL)
        return bad_url(text, fault, err);
    while (url.path.len > 0 && url.path.ptr[url.path.len - 1] == '/')
        url.path.len--;
    *ret = url;
    return 0;
}
