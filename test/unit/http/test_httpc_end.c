/* httpc_end: each code of libcurl's that is told apart, beside what else was seen, becomes its end and its words. */
#include "unit.h"

#include "common/http/httpc_end.h"

#define CHUNK_7 "Problem (3) in the Chunked-Encoded data; malformed input in chunked-encoding"
#define CHUNK_8 "chunk hex-length char not a hex digit: 0x7a"

#define MBEDTLS "mbedTLS: certificate verification error 0x"
#define WANTS "wants a client certificate, or another: "

/* What failures of TLS have in common. */
#define STRANGER .code = CURLE_PEER_FAILED_VERIFICATION, .over_tls = true, .curl_text
#define HANDSHAKE .code = CURLE_SSL_CONNECT_ERROR, .over_tls = true, .curl_text
#define LATE .code = CURLE_RECV_ERROR, .over_tls = true, .curl_text

#define CURLS NULL /* words of libcurl's own, of which it may have been built without */

static const struct row {
    const char *what;
    struct httpc_end_facts facts;
    enum httpc_end end;
    const char *words;
} rows[] = {
    {"whole", {.code = CURLE_OK, .in_reply = true, .headers_whole = true}, HTTPC_OK, ""},
    {"closed in the headers", {.code = CURLE_OK, .in_reply = true}, HTTPC_TRUNCATED,
     "closed inside the reply's headers"},
    {"closed before them", {.code = CURLE_OK}, HTTPC_EMPTY, "closed inside the reply's headers"},
    {"nothing", {.code = CURLE_GOT_NOTHING}, HTTPC_EMPTY, CURLS},
    {"nothing more", {.code = CURLE_GOT_NOTHING, .in_reply = true}, HTTPC_TRUNCATED, CURLS},
    {"partial", {.code = CURLE_PARTIAL_FILE, .in_reply = true, .headers_whole = true}, HTTPC_TRUNCATED, CURLS},

    {"bad URL", {.code = CURLE_URL_MALFORMAT}, HTTPC_BAD_URL, CURLS},
    {"scheme", {.code = CURLE_UNSUPPORTED_PROTOCOL}, HTTPC_BAD_URL, CURLS},
    {"version of the reply", {.code = CURLE_UNSUPPORTED_PROTOCOL, .connected = true}, HTTPC_MALFORMED, CURLS},

    {"no such name", {.code = CURLE_COULDNT_RESOLVE_HOST}, HTTPC_RESOLVE, CURLS},
    {"no memory to look", {.code = CURLE_COULDNT_RESOLVE_HOST, .memory_failed = true}, HTTPC_NO_MEMORY, CURLS},
    {"refused", {.code = CURLE_COULDNT_CONNECT, .os_error = ECONNREFUSED}, HTTPC_REFUSED, CURLS},
    {"unanswered", {.code = CURLE_COULDNT_CONNECT, .os_error = ETIMEDOUT}, HTTPC_CONNECT_TIMEOUT, CURLS},
    {"no descriptor", {.code = CURLE_COULDNT_CONNECT, .socket_error = EMFILE}, HTTPC_OTHER, "cannot open a socket: "},

    {"late look-up", {.code = CURLE_OPERATION_TIMEDOUT}, HTTPC_RESOLVE, CURLS},
    {"late connection", {.code = CURLE_OPERATION_TIMEDOUT, .looked_up = true}, HTTPC_CONNECT_TIMEOUT, CURLS},
    {"late reply", {.code = CURLE_OPERATION_TIMEDOUT, .looked_up = true, .connected = true}, HTTPC_TIMEOUT, CURLS},

    {"reset", {.code = CURLE_RECV_ERROR, .os_error = ECONNRESET}, HTTPC_RESET, CURLS},
    {"reset in the reply", {.code = CURLE_RECV_ERROR, .os_error = ECONNRESET, .in_reply = true}, HTTPC_TRUNCATED,
     CURLS},
    {"chunks, 7.88", {.code = CURLE_RECV_ERROR, .in_reply = true, .curl_text = CHUNK_7}, HTTPC_MALFORMED, CHUNK_7},
    {"chunks, 8.14", {.code = CURLE_RECV_ERROR, .in_reply = true, .curl_text = CHUNK_8}, HTTPC_MALFORMED, CHUNK_8},
    {"chunks without memory", {.code = CURLE_RECV_ERROR, .in_reply = true, .curl_text = CHUNK_8, .memory_failed = true},
     HTTPC_NO_MEMORY, CHUNK_8},
    {"late refusal", {.code = CURLE_RECV_ERROR, .over_tls = true, .curl_text = "x"}, HTTPC_TLS,
     "TLS ended before the reply, as with a server that wants a client certificate, or another: x"},
    {"late refusal, mbedTLS", {LATE = "ssl_read returned: (-0x7780) "}, HTTPC_TLS, WANTS "the server sent an alert"},
    {"early refusal, mbedTLS", {HANDSHAKE = "ssl_handshake returned: (-0x7780) "}, HTTPC_TLS,
     WANTS "the server sent an alert"},
    {"early refusal, GnuTLS", {HANDSHAKE = "gnutls_handshake() failed: Handshake failed"}, HTTPC_TLS,
     WANTS "gnutls_handshake() failed: Handshake failed"},
    {"early refusal lost", {HANDSHAKE = "Send failure: Broken pipe"}, HTTPC_TLS, WANTS "Send failure: Broken pipe"},
    {"no TLS at all", {HANDSHAKE = "x"}, HTTPC_TLS, "x"},
    {"late refusal lost",
     {.code = CURLE_SEND_ERROR, .over_tls = true, .new_connection = true, .os_error = EPIPE, .curl_text = "x"},
     HTTPC_RESET, WANTS "x"},
    {"late refusal in words",
     {.code = CURLE_RECV_ERROR, .over_tls = true, .os_error = ECONNREFUSED, .curl_text = "An Alert"}, HTTPC_TLS,
     "or another: An Alert"},
    {"reset over TLS", {.code = CURLE_RECV_ERROR, .over_tls = true, .os_error = ECONNRESET, .curl_text = "x"},
     HTTPC_RESET, "x"},
    {"cut over TLS", {.code = CURLE_RECV_ERROR, .over_tls = true, .in_reply = true}, HTTPC_TRUNCATED, CURLS},
    {"not sent", {.code = CURLE_SEND_ERROR}, HTTPC_RESET, CURLS},
    {"not sent any more", {.code = CURLE_SEND_ERROR, .in_reply = true}, HTTPC_TRUNCATED, CURLS},
    {"cannot begin again", {.code = CURLE_SEND_FAIL_REWIND}, HTTPC_RESET, CURLS},

    {"weird", {.code = CURLE_WEIRD_SERVER_REPLY}, HTTPC_MALFORMED, CURLS},
    {"long line", {.code = CURLE_OUT_OF_MEMORY}, HTTPC_MALFORMED, "a line of the reply's headers is too long"},
    {"long line, 8.6", {.code = (CURLcode)100}, HTTPC_MALFORMED, "a line of the reply's headers is too long"},
    {"no memory", {.code = CURLE_OUT_OF_MEMORY, .memory_failed = true}, HTTPC_NO_MEMORY, CURLS},
    {"no memory by another name", {.code = CURLE_FAILED_INIT, .memory_failed = true}, HTTPC_NO_MEMORY, CURLS},
    {"another failure", {.code = CURLE_FAILED_INIT}, HTTPC_OTHER, CURLS},
    {"handshake", {.code = CURLE_SSL_CONNECT_ERROR}, HTTPC_TLS, CURLS},
    {"stranger", {.code = CURLE_PEER_FAILED_VERIFICATION, .curl_text = "certificate"}, HTTPC_TLS, "certificate"},
    {"unknown CA, mbedTLS", {STRANGER = MBEDTLS "00000008"}, HTTPC_TLS, "is not from a CA that is trusted here"},
    {"expired, mbedTLS", {STRANGER = MBEDTLS "00000001"}, HTTPC_TLS, "has expired"},
    {"early, mbedTLS", {STRANGER = MBEDTLS "00000200"}, HTTPC_TLS, "is not valid yet"},
    {"another name, mbedTLS", {STRANGER = MBEDTLS "00000004"}, HTTPC_TLS, "is for another name"},
    {"weak, mbedTLS", {STRANGER = MBEDTLS "00010000"}, HTTPC_TLS, "has a weak signature or key"},
    {"another reason, mbedTLS", {STRANGER = MBEDTLS "00100000"}, HTTPC_TLS, MBEDTLS "00100000"},
    {"wrong purpose, mbedTLS", {HANDSHAKE = "ssl_handshake returned: (-0x7A00) "}, HTTPC_TLS, "not made for a server"},
    {"another handshake, mbedTLS", {HANDSHAKE = "ssl_handshake returned: (-0x7100) "}, HTTPC_TLS, "(-0x7100)"},
    {"unknown CA, GnuTLS", {STRANGER = "x", .gnutls_status = 0x42}, HTTPC_TLS, "is not from a CA that is trusted here"},
    {"expired, GnuTLS", {STRANGER = "x", .gnutls_status = 0x402}, HTTPC_TLS, "has expired"},
    {"weak, GnuTLS", {STRANGER = "x", .gnutls_status = 0x102}, HTTPC_TLS, "has a weak signature or key"},
    {"another name, GnuTLS", {STRANGER = "SSL: certificate subject name (a) does not match"}, HTTPC_TLS,
     "is for another name"},
    {"another library", {STRANGER = "x", .gnutls_status = 0x40}, HTTPC_TLS, "x"},
    {"wrong purpose", {.code = CURLE_ABORTED_BY_CALLBACK, .stop = HTTPC_STOP_PURPOSE, .over_tls = true}, HTTPC_TLS,
     "not made for a server"},
    {"bad CA file", {.code = CURLE_SSL_CACERT_BADFILE}, HTTPC_TLS, CURLS},
    {"announced too big", {.code = CURLE_FILESIZE_EXCEEDED, .body_max = 4096}, HTTPC_TOO_BIG,
     "reply body over 4096 bytes"},

    {"words of a dead connection", {.code = CURLE_SEND_ERROR, .curl_text = "old", .old_text = true}, HTTPC_RESET,
     CURLS},

    {"headers without end", {.code = CURLE_WRITE_ERROR, .stop = HTTPC_STOP_HEADERS}, HTTPC_ENDLESS,
     "reply headers over 65536 bytes"},
    {"noise without end", {.code = CURLE_ABORTED_BY_CALLBACK, .stop = HTTPC_STOP_NOISE}, HTTPC_ENDLESS,
     "over 1048576 bytes received that are neither"},
    {"body over the limit", {.code = CURLE_WRITE_ERROR, .stop = HTTPC_STOP_BODY, .body_max = 7}, HTTPC_TOO_BIG,
     "reply body over 7 bytes"},
    {"sink", {.code = CURLE_WRITE_ERROR, .stop = HTTPC_STOP_CALLER, .abort_code = -EFBIG}, HTTPC_ABORTED, "stopped: "},
    {"not watched", {.code = CURLE_ABORTED_BY_CALLBACK, .stop = HTTPC_STOP_WATCH, .watch_error = ENOSPC}, HTTPC_OTHER,
     "cannot watch the socket: "},
    {"not watched for want of memory", {.stop = HTTPC_STOP_WATCH, .watch_error = ENOMEM}, HTTPC_NO_MEMORY,
     "cannot watch the socket: "},
    {"libcurl", {.stop = HTTPC_STOP_CURL}, HTTPC_OTHER, "libcurl failed"},
    {"libcurl without memory", {.stop = HTTPC_STOP_CURL, .memory_failed = true}, HTTPC_NO_MEMORY, "libcurl failed"},
};

static void each_end_has_its_name_and_words(void **state)
{
    (void)state;
    for (const struct row *row = rows; row < rows + COUNT_OF(rows); row++) {
        struct httpc_end_facts facts = row->facts;
        char text[ERR_TEXT_MAX];
        if (facts.curl_text == NULL)
            facts.curl_text = "";
        expect_text(row->what, httpc_end_names[row->end], httpc_end_names[httpc_end_of(&facts)]);
        httpc_end_describe(&facts, text);
        expect_contains(row->what, text, row->words != CURLS ? row->words : curl_easy_strerror(facts.code));
        assert_int_equal(row->end == HTTPC_OK, text[0] == '\0');
    }
}

/* Whatever libcurl says, now or in a later version. */
static void no_code_is_without_an_end(void **state)
{
    (void)state;
    for (int code = 0; code <= CURL_LAST; code++) {
        for (unsigned bits = 0; bits < 64; bits++) {
            const struct httpc_end_facts facts = {.code = (CURLcode)code,
                                                  .curl_text = "",
                                                  .looked_up = bits & 1,
                                                  .connected = bits & 2,
                                                  .over_tls = bits & 4,
                                                  .in_reply = bits & 8,
                                                  .headers_whole = bits & 16,
                                                  .memory_failed = bits & 32};
            char text[ERR_TEXT_MAX];
            enum httpc_end end = httpc_end_of(&facts);
            assert_in_range(end, 0, HTTPC_END_COUNT - 1);
            assert_true(end != HTTPC_OK || code == CURLE_OK);
            httpc_end_describe(&facts, text);
            assert_int_equal(end == HTTPC_OK, text[0] == '\0');
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_end_has_its_name_and_words),
        cmocka_unit_test(no_code_is_without_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
