/* A request, as libmicrohttpd tells of it: read, judged, given to its handler, answered. For httpd.c alone. */
#ifndef PROFEFE_HTTPD_REQUEST_H
#define PROFEFE_HTTPD_REQUEST_H

#include <microhttpd.h>

/* For MHD_OPTION_URI_LOG_CALLBACK, MHD_OPTION_UNESCAPE_CALLBACK, MHD_start_daemon and MHD_OPTION_NOTIFY_COMPLETED. */
void *httpd_request_begin(void *cls, const char *uri, struct MHD_Connection *mhd);
size_t httpd_request_keep_escaped(void *cls, struct MHD_Connection *mhd, char *text);
enum MHD_Result httpd_request_take(void *cls, struct MHD_Connection *mhd, const char *path, const char *method,
                                   const char *version, const char *upload, size_t *upload_len, void **request);
void httpd_request_end(void *cls, struct MHD_Connection *mhd, void **request, enum MHD_RequestTerminationCode code);

#endif
